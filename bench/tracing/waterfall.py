"""A trace as a picture: a bar for each span, in the colour of its process. Of what a collector was told, as SVG."""

from collections.abc import Iterator, Sequence
from html import escape

from bench.tracing.collector import Told
from bench.tracing.timeline import Row, Scale, Stretch, rows, steps

WIDTH, NAMES, MARGIN, LABELS = 1240, 300, 28, 170
TOP, ROW = 116, 24
TICKS = 8
COLOURS = {
    "outbox-api": "#4262d9",
    "outbox-relay": "#8a4fd3",
    "outbox-worker": "#0e8f84",
    "outbox-gateway": "#d07a10",
}
OTHER, RED = "#64748b", "#d22f3a"
STYLE = """
  .card { fill: #fff; stroke: #dbe1ea }
  text { font: 12.5px ui-sans-serif, system-ui, 'DejaVu Sans', sans-serif; fill: #1c2536 }
  .title { font-size: 19px; font-weight: 650 } .small { font-size: 11.5px; fill: #66738a }
  .deep { fill: #46536a } .wrong { fill: #d22f3a; font-weight: 600 } .lead { font-weight: 600 }
  .mono { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: 11.5px; fill: #66738a }
  .line { stroke: #e8ecf2 } .guide { stroke: #d3dae5 } .even { fill: #f7f9fc } .idle { fill: url(#idle) }
  @media (prefers-color-scheme: dark) {
    .card { fill: #131a26; stroke: #2b3648 } text { fill: #e3e9f3 } .small, .mono { fill: #93a1b8 }
    .deep { fill: #b8c3d6 } .line { stroke: #222c3c } .guide { stroke: #33405a } .even { fill: #172030 }
    .wrong { fill: #ff6b75 }
  }
"""
PATTERN = (
    '<defs><pattern id="idle" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="1.4" height="6" fill="#9aa7bb" opacity=".35"/></pattern></defs>'
)


def draw(spans: Sequence[Told], title: str) -> str:
    """Raises IndexError where there are none."""
    found = rows(spans)
    scale = Scale(spans, MARGIN + NAMES, WIDTH - MARGIN - LABELS)
    height = TOP + ROW * len(found) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<style>{STYLE}</style>{PATTERN}",
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="12"/>',
        *heading(spans, title),
        *(stripe(place) for place in range(1, len(found), 2)),
        *axis(scale, TOP + ROW * len(found)),
        *(part for place, row in enumerate(found) for part in bar(row, TOP + ROW * place, scale)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def heading(spans: Sequence[Told], title: str) -> Iterator[str]:
    yield text(MARGIN, 38, title, "title")
    yield text(MARGIN, 60, f"trace {spans[0].trace_id} · {len(spans)} spans", "mono")
    left = float(MARGIN)
    for service in dict.fromkeys(span.service for span in spans):
        yield f'<rect x="{left}" y="74" width="11" height="11" rx="3" fill="{COLOURS.get(service, OTHER)}"/>'
        yield text(left + 17, 84, service, "small")
        left += 34 + 6.6 * len(service)


def stripe(place: int) -> str:
    return (
        f'<rect class="even" x="{MARGIN - 10}" y="{TOP + ROW * place}" width="{WIDTH - 2 * MARGIN + 20}" '
        f'height="{ROW}" rx="4"/>'
    )


def axis(scale: Scale, bottom: float) -> Iterator[str]:
    busy = [stretch for stretch in scale.stretches if not stretch.idle]
    begins = busy[0].begins
    step = steps(sum(stretch.ends - stretch.begins for stretch in busy), TICKS)
    for stretch in scale.stretches:
        if stretch.idle:
            yield from pause(stretch, bottom)
            continue
        first = -(-(stretch.begins - begins) // step) * step
        for moment in range(first, stretch.ends - begins + 1, step):
            at = stretch.place(begins + moment)
            yield f'<line class="guide" x1="{at:.1f}" y1="{TOP - 6}" x2="{at:.1f}" y2="{bottom}"/>'
            yield text(at, TOP - 12, span_of_time(moment), "small", "middle")


def pause(stretch: Stretch, bottom: float) -> Iterator[str]:
    width = stretch.right - stretch.left
    yield (
        f'<rect class="idle" x="{stretch.left:.1f}" y="{TOP - 6}" width="{width:.1f}" '
        f'height="{bottom - TOP + 6:.1f}"/>'
    )
    waited = span_of_time(stretch.ends - stretch.begins)
    yield text((stretch.left + stretch.right) / 2, TOP - 30, f"{waited} of waiting", "small", "middle")


def bar(row: Row, top: float, scale: Scale) -> Iterator[str]:
    span, middle = row.span, top + ROW / 2
    begins, ends = scale.place(span.begins), scale.place(span.ends)
    colour = COLOURS.get(span.service, OTHER)
    indent = MARGIN + 16 * row.depth
    yield f'<circle cx="{indent + 4}" cy="{middle}" r="3.5" fill="{colour}"/>'
    yield text(indent + 14, middle + 4, span.name, "lead" if row.depth < 2 else "deep")
    edge = f' stroke="{RED}" stroke-width="1.6"' if span.failed else ""
    strong = ".95" if row.depth < 3 else ".62"
    yield (
        f'<rect x="{begins:.1f}" y="{top + 6}" width="{max(ends - begins, 2.5):.1f}" height="{ROW - 12}" rx="3" '
        f'fill="{colour}" fill-opacity="{strong}"{edge}><title>{escape(told(span))}</title></rect>'
    )
    yield text(max(ends, begins + 2.5) + 7, middle + 4, label(span), "wrong" if span.failed else "small")


def label(span: Told) -> str:
    """How long, and what came of it."""
    attempt = span.attributes.get("outbox.attempt")
    facts = (
        span_of_time(span.ends - span.begins),
        f"attempt {attempt}" if span.kind == "CONSUMER" and attempt not in {None, 1} else None,
        span.attributes.get("error.type"),
        span.attributes.get("outbox.status"),
        span.attributes.get("http.response.status_code"),
    )
    return " · ".join(str(fact) for fact in facts if fact is not None)


def told(span: Told) -> str:
    return "\n".join([f"{span.service}: {span.name}", *(f"{k} = {v}" for k, v in span.attributes.items())])


def span_of_time(nanoseconds: int) -> str:
    if nanoseconds >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.2f} s"
    return (
        f"{nanoseconds / 1e6:.1f} ms"
        if nanoseconds % 1_000_000 and nanoseconds < 1e8
        else f"{nanoseconds / 1e6:.0f} ms"
    )


def text(x: float, y: float, words: str, name: str, anchor: str = "start") -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
