"""What a run found, as JSON and as tables."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.channels.audit import Delivery, Findings, Line
from db.delivery import Status

OUT = Path(__file__).parent.parent / "out"
SHOWN = 20  # of each kind of finding


@dataclass(slots=True)
class Report:
    """Deliveries by channel and status, requests and sends by provider, faults by kind."""

    rows: int
    seconds: float
    share: float
    requests: int
    settings: Mapping[str, str]
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    providers: dict[str, Line] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    untold: dict[str, int] = field(default_factory=dict)
    findings: dict[str, Any] = field(default_factory=dict)
    holds: bool = False

    def tell(self, deliveries: Sequence[Delivery], found: Findings) -> None:
        self.statuses = by_channel(deliveries)
        self.classes = by_class(deliveries)
        self.reasons = by_reason(deliveries)
        self.lost, self.untold = dict(found.lost), dict(found.untold)
        listed = {name: value for name, value in asdict(found).items() if isinstance(value, list)}
        self.findings = {
            name: {"number": len(items), "first": sorted(items)[:SHOWN]}
            for name, items in listed.items()
            if items
        }
        self.holds = bool(deliveries) and found.holds


def by_channel(deliveries: Sequence[Delivery]) -> dict[str, dict[str, int]]:
    counts = Counter((each.channel, each.status or "never claimed") for each in deliveries)
    channels = sorted({each.channel for each in deliveries})
    return {
        channel: {status: n for (of, status), n in sorted(counts.items()) if of == channel}
        for channel in channels
    }


def by_class(deliveries: Sequence[Delivery]) -> dict[str, dict[str, int]]:
    """What the timelines say went wrong on the way, final or not."""
    counts: dict[str, Counter[str]] = {}
    for delivery in deliveries:
        kinds = (event.detail.get("error_class") for event in delivery.events)
        counts.setdefault(delivery.channel, Counter()).update(kind for kind in kinds if kind)
    return {channel: dict(sorted(kinds.items())) for channel, kinds in sorted(counts.items())}


def by_reason(deliveries: Sequence[Delivery]) -> dict[str, int]:
    """The most common ones, numbers in them left out."""
    counts = Counter(
        re.sub(r"\d+", "…", f"{each.channel} {detail['error_class']}: {detail.get('reason', '')}")
        for each in deliveries
        for detail in (event.detail for event in each.events)
        if detail.get("error_class")
    )
    return dict(counts.most_common(3 * SHOWN))


def save(name: str, report: Any) -> None:
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(asdict(report), indent=2) + "\n")


def show(report: Report, console: Console) -> None:
    states = [status.value for status in Status if any(status in each for each in report.statuses.values())]
    console.print(
        grid(
            "channel",
            states,
            {name: [each.get(s, 0) for s in states] for name, each in report.statuses.items()},
        )
    )
    lines = {name: list(line) for name, line in report.providers.items()}
    console.print(grid("provider", ["requests there", "sends told"], lines))
    console.print(grid("fault", ["times"], {name: [n] for name, n in sorted(report.faults.items())}))
    for channel, kinds in report.classes.items():
        console.print(f"{channel}: {', '.join(f'{kind} {n}' for kind, n in kinds.items())}", highlight=False)
    for name, found in report.findings.items():
        console.print(f"[red]{name}[/] {found['number']}: {'; '.join(found['first'])}", highlight=False)
    if report.lost:
        console.print(f"lost on the way, told as unknown: {report.lost}", highlight=False)
    if report.untold:
        console.print(f"sent by workers that another had taken over from: {report.untold}", highlight=False)
    verdict = (
        "[green]every delivery is explained, every request is told[/]"
        if report.holds
        else "[red]it does not hold[/]"
    )
    console.print(f"{report.rows} rows, {report.requests} requests, {report.seconds:.0f} s: {verdict}")


def grid(first: str, columns: Sequence[str], rows: Mapping[str, Sequence[Any]]) -> Table:
    table = Table(first, *columns, box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in rows.items():
        table.add_row(name, *(f"{value:,}" if isinstance(value, int) else str(value) for value in values))
    return table
