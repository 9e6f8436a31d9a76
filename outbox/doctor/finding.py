"""What a check has found, and what to do about it. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"  # worth knowing; nothing to do
    WARN = "warn"  # works today, and somebody should look
    FAIL = "fail"  # does not work, or will lose something


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names it for programs, as postgres.version. `advice` names the setting or the command."""

    check: str
    level: Level
    what: str
    advice: str = ""


def ok(check: str, what: str) -> Finding:
    return Finding(check, Level.OK, what)


def note(check: str, what: str, advice: str = "") -> Finding:
    return Finding(check, Level.NOTE, what, advice)


def warn(check: str, what: str, advice: str) -> Finding:
    return Finding(check, Level.WARN, what, advice)


def fail(check: str, what: str, advice: str) -> Finding:
    return Finding(check, Level.FAIL, what, advice)


def worst(findings: list[Finding]) -> Level:
    levels = list(Level)
    return max((finding.level for finding in findings), key=levels.index, default=Level.OK)
