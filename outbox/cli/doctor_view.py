"""What the doctor found, as a table for people or as JSON for programs; and its exit code."""

import json
import sys
import time
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from outbox.doctor.examine import Report, examine
from outbox.doctor.finding import Finding, Level, fail, worst
from outbox.errors import SettingsError
from outbox.settings import Settings

MARKS = {
    Level.OK: ("✔", "green"),
    Level.NOTE: ("·", "cyan"),
    Level.WARN: ("!", "yellow"),
    Level.FAIL: ("✘", "bold red"),
}
EXIT = {Level.OK: 0, Level.NOTE: 0, Level.WARN: 1, Level.FAIL: 2}


async def run(*, providers: bool, everything: bool, as_json: bool) -> int:
    """The exit code. Wrong settings are a finding, too."""
    began = time.monotonic()
    report = await made(providers=providers)
    took = time.monotonic() - began
    if as_json:
        sys.stdout.write(document(report, took) + "\n")
    else:
        show(report, took, Console(), everything=everything)
    return EXIT[worst(flat(report))]


async def made(*, providers: bool) -> Report:
    try:
        settings = Settings.load()
    except SettingsError as error:
        lines = str(error).splitlines()
        return {"settings": [fail("settings.valid", line, "set it in the environment") for line in lines]}
    return await examine(settings, providers=providers)


def flat(report: Report) -> list[Finding]:
    return [finding for findings in report.values() for finding in findings]


def document(report: Report, took: float) -> str:
    findings = [{"area": area} | asdict(finding) for area, found in report.items() for finding in found]
    return json.dumps(
        {"level": worst(flat(report)), "seconds": round(took, 3), "findings": findings}, ensure_ascii=False
    )


def show(report: Report, took: float, console: Console, *, everything: bool) -> None:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for area, findings in report.items():
        for number, row in enumerate(rows(findings, everything=everything)):
            table.add_row(area if number == 0 else "", *row)
    console.print(table)
    console.print(summary(flat(report), took))


def rows(findings: list[Finding], *, everything: bool) -> list[tuple[Text, Text]]:
    """The worst first; what is well in one line, unless everything is asked for."""
    order = list(Level)
    worth = [each for each in findings if everything or each.level is not Level.OK]
    made = [row(each) for each in sorted(worth, key=lambda each: -order.index(each.level))]
    fine = len(findings) - len(worth)
    if fine:
        said = (
            findings[0].what if len(findings) == 1 else f"{fine} {'check' if fine == 1 else 'checks'} passed"
        )
        made.append((mark(Level.OK), Text(said, style="dim")))
    return made


def row(finding: Finding) -> tuple[Text, Text]:
    said = Text(finding.what)
    if finding.advice:
        said.append(f"\n→ {finding.advice}", style="dim" if finding.level is Level.NOTE else "cyan")
    return mark(finding.level), said


def mark(level: Level) -> Text:
    sign, style = MARKS[level]
    return Text(f"{sign} {level}", style=style)


def summary(findings: list[Finding], took: float) -> Text:
    counts = {level: sum(finding.level is level for finding in findings) for level in reversed(Level)}
    text = Text("\n")
    for level, word in (
        (Level.FAIL, "failed"),
        (Level.WARN, "warnings"),
        (Level.NOTE, "notes"),
        (Level.OK, "ok"),
    ):
        if counts[level]:
            text.append(f"{counts[level]} {word}   ", style=MARKS[level][1])
    return text.append(f"{took:.1f} s", style="dim")
