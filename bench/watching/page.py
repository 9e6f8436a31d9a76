"""Panels on their grid as one HTML page, in the colours of Grafana's dark theme. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.watching.chart import COLORS, Frame, Line, heat, lines
from bench.watching.queries import Panel
from bench.watching.scale import text
from bench.watching.server import Series

WIDTH, UNIT, GAP = 1600, 30, 8
HEAD, LEGEND = 30, 22
NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "transparent": "#f2495c"}
LEGEND_NAMES = 8
STYLE = """
*{box-sizing:border-box;margin:0}body{background:#111217;color:#ccccdc;font:13px "DejaVu Sans",sans-serif}
main{position:relative;width:1600px}
section{position:absolute;background:#181b1f;border:1px solid #25272e;border-radius:3px;overflow:hidden}
h1{position:absolute;font-size:15px;font-weight:600;padding:6px 4px}
h2{font-size:13px;font-weight:600;padding:8px 10px 0;height:30px;white-space:nowrap}
svg{display:block}svg text{font-size:11px;fill:#ccccdc}.dim{opacity:.62}.mid{text-anchor:middle}.end{text-anchor:end}
.grid{stroke:#ccccdc;opacity:.09}.event{stroke:#8ab8ff;stroke-dasharray:3 3;opacity:.75}
.limit{stroke:#f2495c;stroke-dasharray:6 4;opacity:.8}
footer{padding:0 10px;height:22px;font-size:11px;white-space:nowrap;overflow:hidden;display:flex;gap:12px}
footer i{display:inline-block;width:12px;height:3px;border-radius:2px;margin-right:5px;vertical-align:middle}
b.big{position:absolute;left:0;right:0;top:36px;text-align:center;font-size:34px;font-weight:600}
.spark{position:absolute;bottom:0;left:0}
table{border-collapse:collapse;width:100%;font-size:12px}
td,th{padding:5px 10px;text-align:left;border-bottom:1px solid #25272e}
th{color:#8ab8ff;font-weight:500}
nav{position:absolute;top:10px;left:10px;right:10px;display:flex;gap:18px;align-items:center;font-size:12px}
nav strong{font-size:18px}nav em{font-style:normal;opacity:.75}
nav em i{display:inline-block;width:14px;border-top:2px dashed #8ab8ff;margin-right:6px;vertical-align:middle}
"""
Answers = Mapping[str, Sequence[Series]]


def page(title: str, panels: Sequence[Panel], answers: Answers, frame: Frame) -> str:
    """`answers` by query. The panels' top is the page's; `frame` has the time and the events."""
    top = min(panel.at[1] for panel in panels)
    height = max(panel.at[1] + panel.at[3] for panel in panels) - top
    told = "".join(
        f"<em><i></i>{escape(what)} at {(at - frame.start) / 60:.1f} min</em>" for at, what in frame.events
    )
    body = "".join(placed(panel, top, answers, frame) for panel in panels)
    tall = height * (UNIT + GAP) + 56
    main = f"<nav><strong>{escape(title)}</strong>{told}</nav>{body}"
    return f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><main style="height:{tall}px">{main}</main>'


def placed(panel: Panel, top: int, answers: Answers, frame: Frame) -> str:
    x, y, w, h = panel.at
    column = (WIDTH - 2 * GAP) / 24
    left, above = GAP + x * column, 48 + (y - top) * (UNIT + GAP)
    wide, tall = w * column - GAP, h * (UNIT + GAP) - GAP
    where = f"left:{left:.0f}px;top:{above:.0f}px"
    if panel.kind == "row":
        return f'<h1 style="{where}">{escape(panel.title)}</h1>'
    inner = drawn(panel, answers, Frame(wide, tall - HEAD - LEGEND, frame.start, frame.end, frame.events))
    size = f"width:{wide:.0f}px;height:{tall:.0f}px"
    return f'<section style="{where};{size}"><h2>{escape(panel.title)}</h2>{inner}</section>'


def drawn(panel: Panel, answers: Answers, frame: Frame) -> str:
    unit = panel.defaults.get("unit", "short")
    match panel.kind:
        case "stat":
            return stat(panel, answers, frame)
        case "table":
            return table(panel, answers, unit)
        case "heatmap":
            buckets = {one.labels["le"]: one.points for one in answers[panel.targets[0].expr]}
            unit = panel.options["yAxis"]["unit"]
            return svg(frame, heat(buckets, frame, unit))
    found = colored(panel, answers)
    return svg(frame, lines(found, frame, panel.defaults)) + legend(found)


def svg(frame: Frame, inner: str) -> str:
    return f'<svg width="{frame.width:.0f}" height="{frame.height:.0f}">{inner}</svg>'


def colored(panel: Panel, answers: Answers) -> list[Line]:
    named = [
        (label(target.legend, one.labels), one.points)
        for target in panel.targets
        for one in sorted(answers[target.expr], key=lambda one: sorted(one.labels.items()))
    ]
    return [Line(name, points, COLORS[at % len(COLORS)]) for at, (name, points) in enumerate(named) if points]


def label(legend: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return "value" if "{{" in legend else legend or ", ".join(labels.values()) or "value"


def legend(found: Sequence[Line]) -> str:
    items = [
        f'<span><i style="background:{one.color}"></i>{escape(one.name)}</span>'
        for one in found[:LEGEND_NAMES]
    ]
    more = f"<span>+{len(found) - LEGEND_NAMES}</span>" if len(found) > LEGEND_NAMES else ""
    return f"<footer>{''.join(items)}{more}</footer>"


def stat(panel: Panel, answers: Answers, frame: Frame) -> str:
    found = [one for one in answers[panel.targets[0].expr] if one.points]
    if not found:
        return '<b class="big">–</b>'
    value = found[0].points[-1][1]
    color = threshold(value, panel.defaults)
    big = (
        f'<b class="big" style="color:{color}">{escape(text(value, panel.defaults.get("unit", "short")))}</b>'
    )
    if panel.options.get("graphMode") == "none":
        return big
    return big + spark(found[0].points, frame, color)


def spark(points: Sequence[tuple[float, float]], frame: Frame, color: str) -> str:
    high = max(value for _, value in points) or 1.0
    span = frame.end - frame.start
    where = [((at - frame.start) / span * frame.width, 34 - value / high * 30) for at, value in points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in where)
    area = f"{path}V40H{where[0][0]:.1f}Z"
    return (
        f'<svg class="spark" width="{frame.width:.0f}" height="40"><path d="{area}" fill="{color}" fill-opacity=".18"/>'
        f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.2"/></svg>'
    )


def threshold(value: float, defaults: Mapping[str, Any]) -> str:
    passed = [
        step["color"]
        for step in defaults["thresholds"]["steps"]
        if step["value"] is None or value >= step["value"]
    ]
    return NAMED[passed[-1]]


def table(panel: Panel, answers: Answers, unit: str) -> str:
    rows = [
        {**one.labels, "Value": text(one.points[-1][1], unit)}
        for target in panel.targets
        for one in answers[target.expr]
        if one.points
    ]
    names = sorted(
        {name for row in rows for name in row} - panel.hidden, key=lambda name: (name == "Value", name)
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    cells = ("".join(f"<td>{escape(row.get(name, ''))}</td>" for name in names) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
