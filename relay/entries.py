"""What goes into which stream under which id. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from outbox.streams import Keys
from relay.snapshot import Snapshot, Xid


class StreamId(NamedTuple):
    """`<tick ms>-<outbox id>`: explicit, deterministic, increasing; and it says where the row came from."""

    ms: int
    row: int

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        ms, _, row = (text.decode() if isinstance(text, bytes) else text).partition("-")
        return cls(int(ms), int(row))

    def __str__(self) -> str:
        return f"{self.ms}-{self.row}"


ZERO = StreamId(0, 0)


@dataclass(frozen=True, slots=True)
class Row:
    """An outbox row as the relay reads it: `envelope` is the entry's JSON, made by Postgres."""

    id: int
    xid: Xid
    channels: list[str]
    priority: str
    attempt: int
    origin: str
    envelope: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A fact in Postgres: the rows visible in `snapshot` and not in the one before are this tick's."""

    no: int
    ms: int
    snapshot: Snapshot
    tops: dict[str, str]
    behind: frozenset[str]
    solo: Xid | None
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of one stream."""

    id: StreamId
    envelope: str
    attempt: int


def page_of(entries: Sequence[Entry], most: int, size: int) -> Sequence[Entry]:
    """The first of them: at most so many, and not much over so many bytes; at least one."""
    total = 0
    for number, entry in enumerate(entries[:most]):
        if number and total > size:
            return entries[:number]
        total += len(entry.envelope)
    return entries[:most]


def by_stream(ms: int, rows: Iterable[Row], keys: Keys) -> dict[str, list[Entry]]:
    """The entries of one tick, by stream, in the order of their ids."""
    streams: dict[str, list[Entry]] = {}
    for row in sorted(rows, key=lambda row: row.id):
        entry = Entry(StreamId(ms, row.id), row.envelope, row.attempt)
        for channel in row.channels:
            streams.setdefault(keys.stream(channel, row.priority), []).append(entry)
    return streams


def across_ticks(ticks: Sequence[Tick], rows: Iterable[Row], after: StreamId) -> list[Entry]:
    """The entries of one stream out of several ticks in a row, those behind `after` only, in order.

    A row belongs to the first tick that sees its transaction.
    """
    tops = [tick.snapshot.xmax for tick in ticks]
    entries = []
    for row in rows:
        at = bisect_right(tops, row.xid)
        while not ticks[at].snapshot.sees(row.xid):
            at += 1
        entries.append(Entry(StreamId(ticks[at].ms, row.id), row.envelope, row.attempt))
    return sorted((entry for entry in entries if entry.id > after), key=lambda entry: entry.id)
