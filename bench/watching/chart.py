"""Lines over time, and a heat map, as SVG: what Grafana would draw of a panel's answers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import inf, log10, sqrt
from typing import Any

from bench.watching.scale import decades, marks, text

COLORS = (
    "#73bf69",
    "#f2cc0c",
    "#8ab8ff",
    "#ff780a",
    "#f2495c",
    "#5794f2",
    "#b877d9",
    "#56a64b",
    "#fade2a",
    "#ca95e5",
)
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 10, 24
HEAT = ("#2b1a0e", "#ffb357")
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    points: Sequence[Point]
    color: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """Size in pixels, and the time shown, in Unix seconds. `events` are marked."""

    width: float
    height: float
    start: float
    end: float
    events: Sequence[tuple[float, str]] = ()

    def x(self, at: float) -> float:
        return LEFT + (at - self.start) / (self.end - self.start) * (self.width - LEFT - RIGHT)

    @property
    def floor(self) -> float:
        return self.height - BOTTOM


@dataclass(frozen=True, slots=True)
class Axis:
    """From the lowest mark to the highest, linear or logarithmic."""

    ticks: Sequence[float]
    frame: Frame
    log: bool = False

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        value = min(max(value, low), high)
        part = log10(value / low) / log10(high / low) if self.log else (value - low) / (high - low)
        return self.frame.floor - part * (self.frame.floor - TOP)


def times(frame: Frame) -> str:
    """The axis below, in minutes since the run began, and what happened."""
    out = []
    minutes = (frame.end - frame.start) / 60
    for mark in marks(0, minutes, 6):
        if mark <= minutes:
            x = frame.x(frame.start + mark * 60)
            out.append(f'<path class="grid" d="M{x:.1f} {TOP}V{frame.floor:.1f}"/>')
            out.append(f'<text class="dim mid" x="{x:.1f}" y="{frame.height - 7:.1f}">{mark:g} min</text>')
    for at, _ in frame.events:
        x = frame.x(at)
        out.append(f'<path class="event" d="M{x:.1f} {TOP}V{frame.floor:.1f}"/>')
    return "".join(out)


def scale(axis: Axis, unit: str) -> str:
    out = []
    for tick in axis.ticks:
        y = axis.y(tick)
        out.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{axis.frame.width - RIGHT:.1f}"/>')
        out.append(f'<text class="dim end" x="{LEFT - 8}" y="{y + 4:.1f}">{escape(text(tick, unit))}</text>')
    return "".join(out)


def lines(found: Sequence[Line], frame: Frame, defaults: Mapping[str, Any]) -> str:
    custom, unit = defaults.get("custom", {}), defaults.get("unit", "short")
    if "stacking" in custom:
        found = stacked(found)
    log = custom.get("scaleDistribution", {}).get("type") == "log"
    axis = Axis(axis_of(found, defaults, log=log), frame, log)
    limit = [step for step in defaults.get("thresholds", {}).get("steps", ()) if step["value"] is not None]
    out = [times(frame), scale(axis, unit)]
    fill = custom.get("fillOpacity", 0) / 100
    step = custom.get("lineInterpolation") == "stepAfter"
    behind_first = reversed(found) if "stacking" in custom else found
    out += [drawn(line, axis, fill, step=step) for line in behind_first]
    if "thresholdsStyle" in custom:
        out += [
            f'<path class="limit" d="M{LEFT} {axis.y(one["value"]):.1f}H{frame.width - RIGHT:.1f}"/>'
            for one in limit
            if one["value"] <= axis.ticks[-1]
        ]
    return "".join(out)


def stacked(found: Sequence[Line]) -> list[Line]:
    """Each on top of those before it."""
    base: dict[float, float] = {}
    made = []
    for line in found:
        points = [(at, value + base.get(at, 0.0)) for at, value in line.points]
        base |= dict(points)
        made.append(Line(line.name, points, line.color))
    return made


def axis_of(found: Sequence[Line], defaults: Mapping[str, Any], *, log: bool) -> list[float]:
    values = [value for line in found for _, value in line.points if not log or value > 0]
    high = max(values, default=1.0)
    if log:
        return decades(min(values, default=0.1), max(high, min(values, default=0.1) * 1.01))
    return marks(0, defaults.get("max", high * 1.05 or 1.0))


def drawn(line: Line, axis: Axis, fill: float, *, step: bool) -> str:
    """One path for each run of points without a gap."""
    out = []
    for run in runs(line.points):
        where = [(axis.frame.x(at), axis.y(value)) for at, value in run]
        path = f"M{where[0][0]:.1f} {where[0][1]:.1f}"
        for x, y in where[1:]:
            path += f"H{x:.1f}V{y:.1f}" if step else f"L{x:.1f} {y:.1f}"
        if fill and len(where) > 1:
            area = f"{path}V{axis.frame.floor:.1f}H{where[0][0]:.1f}Z"
            out.append(f'<path fill="{line.color}" fill-opacity="{fill}" d="{area}"/>')
        out.append(f'<path fill="none" stroke="{line.color}" stroke-width="1.4" d="{path}"/>')
    return "".join(out)


def runs(points: Sequence[Point], gap: float = 2.5) -> list[list[Point]]:
    """Cut where more than `gap` usual steps lie between two points."""
    if not points:
        return []
    usual = min((b[0] - a[0] for a, b in pairwise(points)), default=1.0)
    made = [[points[0]]]
    for before, point in pairwise(points):
        if point[0] - before[0] > usual * gap:
            made.append([])
        made[-1].append(point)
    return made


def heat(buckets: Mapping[str, Sequence[Point]], frame: Frame, unit: str) -> str:
    """`buckets` by their upper bound, each counting those below, as Prometheus has them."""
    bounds = sorted(buckets, key=bound)
    cells: dict[tuple[float, int], float] = {}
    below: dict[float, float] = {}
    for row, name in enumerate(bounds):
        for at, value in buckets[name]:
            cells[at, row] = max(value - below.get(at, 0.0), 0.0)
            below[at] = value
    rows = sorted({row for (_, row), value in cells.items() if value > 0.01})
    if not rows:
        return times(frame)
    low, count = rows[0], rows[-1] - rows[0] + 1
    moments = sorted({at for at, _ in cells})
    wide = (frame.width - LEFT - RIGHT) / max(len(moments), 1)
    tall = (frame.floor - TOP) / count
    most = max(cells.values())
    out = [times(frame)]
    for (at, row), value in cells.items():
        if value > 0.01:
            x, y = frame.x(at) - wide, frame.floor - (row - low + 1) * tall
            out.append(
                f'<rect x="{max(x, LEFT):.1f}" y="{y:.1f}" width="{wide - 0.6:.1f}" height="{tall - 1:.1f}"'
                f' fill="{shade(sqrt(value / most))}"/>'
            )
    for row in range(low, low + count):
        y = frame.floor - (row - low + 1) * tall + 4
        label = "more" if bounds[row] == "+Inf" else text(float(bounds[row]), unit)
        out.append(f'<text class="dim end" x="{LEFT - 8}" y="{y:.1f}">{escape(label)}</text>')
    return "".join(out)


def bound(name: str) -> float:
    return inf if name == "+Inf" else float(name)


def shade(part: float) -> str:
    """Between the two colours of HEAT."""
    ends = [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in HEAT]
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(*ends, strict=True))
