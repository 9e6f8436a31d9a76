"""The run as a picture: what was committed and what reached the streams, second by second, under which faults; and
how long each kind of fault was felt. SVG by hand, readable on light and dark pages."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import log10

from bench.chaos.driver import KINDS, Struck

WIDTH, LEFT, RIGHT = 1000, 170, 20
RATES, ROW = 220, 13  # heights, in pixels
SHORTEST_MS, LONGEST_MS = 10, 60_000
STYLE = """
svg{background:#fff;color:#1c2330;font:11px system-ui,sans-serif}
text{fill:currentColor}.dim{opacity:.6}.grid{stroke:currentColor;opacity:.12}
.committed{fill:none;stroke:#2f5bea;stroke-width:1.5}.seen{fill:none;stroke:#16a06a;stroke-width:1.5}
.mark{fill:#d9480f}.p50{fill:#2f5bea}.max{fill:#2f5bea;opacity:.3}
@media(prefers-color-scheme:dark){svg{background:#14181f;color:#e6e9ef}}
"""


def picture(
    title: str,
    struck: Sequence[Struck],
    committed: Iterable[float],
    seen: Iterable[float],
    recovery: Mapping[str, Mapping[str, float]],
) -> str:
    """All times in Unix seconds. `committed` and `seen`: one for each notification."""
    rates = {"committed": Counter(map(int, committed)), "seen": Counter(map(int, seen))}
    seconds = [second for rate in rates.values() for second in rate]
    first, last = min(seconds, default=0), max(seconds, default=1)
    most = max((count for rate in rates.values() for count in rate.values()), default=1)
    kinds = [kind for kind in KINDS if any(fault.kind == kind for fault in struck)]
    top = 60 + RATES
    height = top + len(kinds) * ROW * 2 + 90
    drawn = [f'<text x="{LEFT}" y="22" font-size="15" font-weight="600">{escape(title)}</text>']
    drawn += legend() + axis(first, last, top + len(kinds) * ROW)
    for name, rate in rates.items():
        points = " ".join(
            f"{along(second, first, last):.1f},{50 + RATES * (1 - rate[second] / most):.1f}"
            for second in range(first, last + 1)
        )
        drawn.append(f'<polyline class="{name}" points="{points}"/>')
    drawn.append(f'<text class="dim" x="{LEFT - 8}" y="58" text-anchor="end">{most} a second</text>')
    for number, kind in enumerate(kinds):
        marks = [fault.at for fault in struck if fault.kind == kind]
        drawn += marks_row(kind, marks, top + number * ROW, first, last)
    drawn += bars(kinds, recovery, top + len(kinds) * ROW + 70)
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def along(second: float, first: float, last: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (second - first) / max(1, last - first)


def legend() -> list[str]:
    return [
        f'<polyline class="committed" points="{LEFT},38 {LEFT + 20},38"/>',
        f'<text x="{LEFT + 26}" y="42">committed</text>',
        f'<polyline class="seen" points="{LEFT + 110},38 {LEFT + 130},38"/>',
        f'<text x="{LEFT + 136}" y="42">first seen in a stream</text>',
        f'<rect class="mark" x="{LEFT + 280}" y="33" width="2" height="9"/>',
        f'<text x="{LEFT + 288}" y="42">a fault</text>',
    ]


def axis(first: int, last: int, bottom: int) -> list[str]:
    drawn = []
    for second in range(first, last + 1, 30):
        x = along(second, first, last)
        drawn.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="50" y2="{bottom}"/>')
        drawn.append(
            f'<text class="dim" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{second - first} s</text>'
        )
    return drawn


def marks_row(kind: str, times: Sequence[float], y: int, first: float, last: float) -> list[str]:
    label = f'<text x="{LEFT - 8}" y="{y + 9}" text-anchor="end">{kind} × {len(times)}</text>'
    marks = (
        f'<rect class="mark" x="{along(at, first, last):.1f}" y="{y + 1}" width="1.6" height="{ROW - 3}"/>'
        for at in times
    )
    return [label, *marks]


def bars(kinds: Sequence[str], recovery: Mapping[str, Mapping[str, float]], y: int) -> list[str]:
    """One a kind, on a logarithmic scale: dark to the median, pale to the worst."""
    drawn = [
        f'<text x="{LEFT}" y="{y - 22}" font-weight="600">from a fault to the next committed row in its stream:'
        " median, worst</text>"
    ]
    for ms in (10, 100, 1000, 10_000, 60_000):
        x = reach(ms)
        drawn.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + len(kinds) * ROW}"/>'
            f'<text class="dim" x="{x:.1f}" y="{y - 5}" text-anchor="middle">{shown(ms)}</text>'
        )
    for number, kind in enumerate(kinds):
        at = y + number * ROW
        drawn.append(f'<text x="{LEFT - 8}" y="{at + 10}" text-anchor="end">{kind}</text>')
        if found := recovery.get(kind):
            drawn += [
                f'<rect class="{name}" x="{LEFT}" y="{at + 2}" width="{reach(found[name]) - LEFT:.1f}" height="9">'
                f"<title>{kind} {name}: {shown(found[name])}</title></rect>"
                for name in ("max", "p50")
            ]
    return drawn


def reach(ms: float) -> float:
    share = log10(max(ms, SHORTEST_MS) / SHORTEST_MS) / log10(LONGEST_MS / SHORTEST_MS)
    return LEFT + (WIDTH - LEFT - RIGHT - 20) * min(1.0, share)


def shown(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.3g} s"
