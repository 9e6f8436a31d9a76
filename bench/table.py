"""The table at the end of a run: every case that the file of results has. Pure."""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

HEADINGS = ("case", "figure", "unit", "alternatives", "limits", "ratios", "goal", "reached")
FIRM = ("case", "figure", "goal", "reached")  # the others may be folded where the terminal is narrow
CAPTION = "ratios are ours ÷ theirs, pair by pair, medians of all rounds"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def lines(values: Mapping[str, float]) -> str:
    return "\n".join(f"{name} {number(value)}" for name, value in values.items())


def verdict(goal: Mapping[str, Any]) -> Text:
    """In words, not in colour alone."""
    if goal["reached"] is None:
        return Text("not measured", "yellow")
    word, style = ("yes", "green") if goal["reached"] else ("NO", "bold red")
    return Text(f"{word} ({number(goal['value'])})", style)


def table(results: Mapping[str, Mapping[str, Any]]) -> list[RenderableType]:
    """The table, then what it does not show: what is absent, what was missed, and on what it was measured."""
    shown = Table(show_lines=True, caption=CAPTION)
    for heading in HEADINGS:
        shown.add_column(heading, no_wrap=heading in FIRM, overflow="fold")
    for name, case in results.items():
        goals = case["detail"]["goals"]
        shown.add_row(
            name + ("" if case["detail"]["size"] == "normal" else f"\n({case['detail']['size']})"),
            number(case["figure"]),
            case["unit"],
            lines(case["alternatives"]),
            lines(case["limits"]),
            lines(case["ratios"]),
            "\n".join(goal["goal"] for goal in goals),
            Text("\n").join(map(verdict, goals)),
        )
    return [shown, *absences(results), closing(results), machines(results)]


def absences(results: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    found = {f"{name}: {why}" for case in results.values() for name, why in case["detail"]["absent"].items()}
    return [Text(f"not measured: {line}", "yellow") for line in sorted(found)]


def closing(results: Mapping[str, Mapping[str, Any]]) -> Text:
    missed = [
        f"{name} ({goal['goal']})"
        for name, case in results.items()
        for goal in case["detail"]["goals"]
        if goal["reached"] is False
    ]
    return (
        Text(f"goals missed: {', '.join(missed)}", "bold red")
        if missed
        else Text("every goal that was measured is reached", "green")
    )


def machines(results: Mapping[str, Mapping[str, Any]]) -> Text:
    """One line for each machine that the results come from, with the highest load noted."""
    found: dict[str, float] = {}
    for case in results.values():
        at = case["detail"]["machine"]
        line = (
            f"{at['cores']} × {at['cpu']}, PostgreSQL {at['postgres']}, {at['redis']}, Python {at['python']}"
        )
        found[line] = max(found.get(line, 0), *at["load_1m"])
    return Text("\n".join(f"{line}; load up to {load:.1f}" for line, load in found.items()), "dim")
