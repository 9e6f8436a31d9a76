"""What a run found, as JSON, as a table, as a picture."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.chaos.account import Account, Fate
from bench.chaos.audit import Findings, recovery_ms
from bench.chaos.driver import Driver
from bench.chaos.evidence import events
from bench.chaos.picture import picture
from bench.chaos.stage import Stage

SHOWN = 20  # of each kind of finding


@dataclass(slots=True)
class Report:
    """`missing`, `duplicated`, `uncommitted` and `out_of_order` must be zero, `blind` empty."""

    seed: int = 0
    seconds: float = 0
    faults: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    committed: int = 0
    mails: int = 0
    missing: int = 0
    duplicated: int = 0
    uncommitted: int = 0
    out_of_order: int = 0
    lost_by_postgres: int = 0
    mails_again_as_told: int = 0
    mails_again_lost_by_postgres: int = 0
    outcomes_unknown: int = 0  # COMMITs without an answer, looked up in the database
    appends_refused: int = 0  # tried by a relay with an id that the stream was past already; Redis said no
    incarnations: dict[str, int] = field(default_factory=dict)
    services_fallen: list[str] = field(default_factory=list)
    blind: str = ""
    recovery_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        wrong = self.missing + self.duplicated + self.uncommitted + self.out_of_order
        return bool(self.committed) and not wrong and not self.blind and not self.services_fallen


def report_of(driver: Driver, account: Account, stage: Stage, found: Findings) -> Report:
    wishes, seen = account.wishes.values(), stage.watch.seen_at
    rows = [
        (wish.at, seen[wish.title]) for wish in wishes if wish.fate is Fate.COMMITTED and wish.title in seen
    ]
    return Report(
        faults=len(driver.struck),
        by_kind=driver.by_kind,
        missing=found.missing,
        duplicated=found.duplicated,
        uncommitted=len(found.uncommitted),
        out_of_order=len(found.out_of_order),
        lost_by_postgres=len(found.lost_by_postgres),
        mails_again_as_told=len(found.mails_again_as_told),
        mails_again_lost_by_postgres=len(found.mails_again_lost_by_postgres),
        outcomes_unknown=sum(wish.fate is Fate.UNKNOWN for wish in wishes),
        appends_refused=sum(len(history.refused) for history in stage.watch.histories.values()),
        incarnations={name: history.incarnations for name, history in sorted(stage.watch.histories.items())},
        services_fallen=stage.fallen,
        blind=stage.watch.blind,
        recovery_ms=recovery_ms(driver.struck, rows),
        findings={name: sorted(items)[:SHOWN] for name, items in asdict(found).items() if items},
        events=events(stage.folder),
    )


def save(report: Report, out: Path) -> None:
    (out / "chaos.json").write_text(json.dumps(asdict(report), indent=2) + "\n")


def keep(driver: Driver, folder: Path) -> None:
    """Which fault struck when, beside the logs."""
    lines = (json.dumps(struck._asdict()) for struck in sorted(driver.struck, key=lambda each: each.at))
    (folder / "faults.jsonl").write_text("\n".join(lines) + "\n")


def draw(report: Report, driver: Driver, account: Account, stage: Stage, out: Path) -> None:
    found = "0 missing, 0 twice, order kept" if report.holds else "a promise was broken"
    title = f"{report.faults} faults in {report.seconds:.0f} s, {report.committed} notifications: {found}"
    committed = [wish.at for wish in account.wishes.values() if wish.fate is Fate.COMMITTED]
    drawn = picture(title, driver.struck, committed, stage.watch.seen_at.values(), report.recovery_ms)
    (out / "chaos.svg").write_text(drawn)


def show(report: Report, console: Console) -> None:
    table = Table("fault", "times", "recovery p50", "recovery max", box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, times in report.by_kind.items():
        recovery = report.recovery_ms.get(kind)
        shown = [f"{recovery[which]:,.0f} ms" for which in ("p50", "max")] if recovery else ["", ""]
        table.add_row(kind, str(times), *shown)
    console.print(table)
    figures = {key: value for key, value in asdict(report).items() if isinstance(value, int | float | list)}
    console.print("  ".join(f"{key} {value}" for key, value in figures.items() if value != []))
    for name, count in report.events.items():
        console.print(f"  {count:>6}  {name}", highlight=False)
    for name, items in report.findings.items():
        console.print(f"[yellow]{name}[/] {', '.join(items)}", highlight=False)
    verdict = "[green]every promise held[/]" if report.holds else "[red]a promise was broken[/]"
    console.print(report.blind or verdict)
