"""What a run found: who was hit, how long deliveries stood still, and whether anything was lost or came twice."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from bench.chaos.audit import Findings
from bench.stack.audit import Gap, Live, Struck, Unsettled

SHOWN = 5  # of each kind of finding


@dataclass(frozen=True, slots=True)
class Report:
    gaps: Mapping[Struck, Gap]
    notifications: int
    found: Findings
    live: Live
    ended: Unsettled
    failures: list[str]  # requests that the client gave up
    slowest: float

    @property
    def holds(self) -> bool:
        wrong = self.live.missing or self.live.twice or self.ended.open or self.failures
        return bool(self.notifications) and self.found.holds and not wrong


def show(report: Report, console: Console) -> None:
    table = Table("hit", "back after", "longest without a delivery", "slowest created in it", box=None)
    for struck, gap in report.gaps.items():
        table.add_row(
            struck.service,
            f"{struck.until - struck.at:.1f} s",
            f"{gap.seconds:.1f} s  {gap.channel}",
            f"{gap.slowest:.1f} s  {gap.slowest_channel}",
        )
    console.print(table)
    found = report.found
    console.print(
        f"{report.notifications} notifications; {found.missing} missing, {found.duplicated} twice, "
        f"{len(found.uncommitted)} uncommitted, {len(found.out_of_order)} out of order; "
        f"live: {len(report.live.missing)} missing, {len(report.live.twice)} twice; "
        f"deliveries: {len(report.ended.open)} not ended, {len(report.ended.held)} held for a person; "
        f"{len(found.mails_again_as_told)} mails again, as their timelines say; "
        f"{len(report.failures)} requests failed, the slowest took {report.slowest:.1f} s",
        highlight=False,
    )
    for name, items in (asdict(found) | asdict(report.live) | asdict(report.ended)).items():
        for item in sorted(items)[:SHOWN]:
            console.print(f"[yellow]{name}[/] {item}", highlight=False)
    for failure in report.failures[:SHOWN]:
        console.print(f"[yellow]failed[/] {failure}", highlight=False)
    console.print("[green]every promise held[/]" if report.holds else "[red]a promise was broken[/]")
