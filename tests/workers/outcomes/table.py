"""The tables of docs/channels.md: for each provider and each case what is to be seen of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from outbox.settings import PROJECT

PAGE = PROJECT / "docs" / "channels.md"
CHAPTER = "## What each provider's answer leads to"
COLUMNS = ["case", "that is", "recipient", "timeline", "metrics", "dead letter", "tests"]
OUTAGE = "down an hour"
WORD = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Seen:
    """`timeline`: the event, and its class. `metrics`: which counters go up. `dead`: when there is a dead letter."""

    recipient: str
    timeline: tuple[str, ...]
    metrics: frozenset[str]
    dead: str

    def __str__(self) -> str:
        told = [" ".join(f"`{word}`" for word in words) for words in (self.timeline, sorted(self.metrics))]
        return f"{self.recipient} | {told[0]} | {told[1] or '–'} | {self.dead}"


@dataclass(frozen=True, slots=True)
class Row:
    """`tests`: others that try it, by their names."""

    provider: str
    case: str
    seen: Seen
    tests: tuple[str, ...]

    @classmethod
    def of(cls, provider: str, cells: list[str]) -> Self:
        case, _, recipient, timeline, metrics, dead, tests = cells
        seen = Seen(recipient, tuple(WORD.findall(timeline)), frozenset(WORD.findall(metrics)), dead)
        return cls(provider, case.strip("`"), seen, tuple(WORD.findall(tests)))


def rows() -> list[Row]:
    """Of all providers, in the page's order."""
    return list(read(PAGE.read_text(encoding="utf-8")))


def read(page: str) -> Iterator[Row]:
    _, found, chapter = page.partition(CHAPTER)
    assert found, f"{PAGE.name} has no chapter {CHAPTER!r}"
    provider = ""
    for line in chapter.partition("\n## ")[0].splitlines():
        if line.startswith("### "):
            provider = line[4:].strip().lower()
        elif provider and line.startswith("|") and not line.startswith("|---"):
            cells = [cell.strip() for cell in line.strip("|\n ").split("|")]
            assert len(cells) == len(COLUMNS), f"this row has not {len(COLUMNS)} cells: {line}"
            if cells != COLUMNS:
                yield Row.of(provider, cells)
