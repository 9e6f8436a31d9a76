"""What a deploy cost, as JSON and as a table."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.rollout.account import CHANNELS, Line
from bench.rollout.deploy import Report

OUT = Path(__file__).parent.parent / "out" / "rollout.json"
TABLE_CHARACTERS = 116
KINDS = ("unclean", "failed", "missing", "twice", "uninvited", "oddities")


def save(report: Report, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    document = asdict(report) | {"holds": report.holds}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def show(report: Report, console: Console) -> None:
    wide = Console(
        width=max(console.width, TABLE_CHARACTERS)
    )  # a terminal may fold its lines; cells stay whole
    wide.print(table(report))
    console.print(
        f"{report.requests} calls, {report.notifications} notifications, {report.deliveries} deliveries",
        highlight=False,
    )
    for kind in KINDS:
        found: list[str] = getattr(report, kind)
        console.print(f"{kind}: {len(found) or 'none'}", style="bold red" if found else "", highlight=False)
        for each in found:
            console.print(f"  {each}", highlight=False, markup=False)
    if report.streams:
        console.print(f"streams hold more or less than the log: {report.streams}", style="bold red")
    verdict = "holds" if report.holds else "DOES NOT HOLD"
    longest = f"longest from commit to arrival {report.longest_wait:.1f} s (at most {report.most_wait:g} s)"
    console.print(f"{longest}: {verdict}", style="green" if report.holds else "bold red", highlight=False)


def table(report: Report) -> Table:
    title = f"from {report.old} (schema {report.revisions[0]}) to {report.new} (schema {report.revisions[1]})"
    made = Table(title=title, caption="seconds; by channel: the longest from commit to arrival")
    made.add_column("step", no_wrap=True)
    for heading in (
        "took",
        "calls",
        "repeated",
        "sockets\nback",
        "slowest\ncall",
        "slowest\nINSERT",
        *CHANNELS,
    ):
        made.add_column(heading, justify="right")
    for each in report.lines:
        made.add_row(*row(each))
    return made


def row(line: Line) -> list[str]:
    counts = (line.requests, line.repeated, line.reconnected)
    waits = [f"{line.waits[channel]:.2f}" if channel in line.waits else "–" for channel in CHANNELS]
    return [
        *(line.step, f"{line.seconds:.1f}"),
        *(str(count) if count else "–" for count in counts),
        *(f"{line.slowest_request:.2f}", f"{line.slowest_insert:.2f}"),
        *waits,
    ]
