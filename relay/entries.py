"""What goes into which stream under which id. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from asyncpg import Record

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


class Row(NamedTuple):
    """An outbox row as the relay reads it. A tuple, because there are many: it is made at once, and sorts by id.
    `channels` has spaces between the names; `envelope` is the entry's JSON, made by Postgres."""

    id: int
    xid: Xid
    channels: str
    priority: str
    attempt: int
    origin: str
    envelope: str


FIELDS = len(Row._fields)


def row_of(record: Record) -> Row:
    """The first columns of a record, which every statement that reads rows has in this order (`{row}`)."""
    return Row._make(record[:FIELDS])


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


class Entry(NamedTuple):
    """One entry of one stream."""

    id: StreamId
    envelope: str
    attempt: int


def by_stream(rows: Iterable[Row], keys: Keys) -> dict[str, list[Row]]:
    """Rows of one tick by stream, in the order of their ids."""
    streams: dict[str, list[Row]] = {}
    roads: dict[tuple[str, str], list[list[Row]]] = {}  # few kinds of rows, many rows
    for row in sorted(rows):
        road = row.channels, row.priority
        if road not in roads:
            names = [keys.stream(channel, row.priority) for channel in row.channels.split()]
            roads[road] = [streams.setdefault(name, []) for name in names]
        for stream in roads[road]:
            stream.append(row)
    return streams


def of_tick(ms: int, rows: Iterable[Row]) -> Iterator[Entry]:
    """The entries of one tick in one stream."""
    return (Entry(StreamId(ms, row.id), row.envelope, row.attempt) for row in rows)


def pages(entries: Iterable[Entry], most: int, size: int) -> Iterator[list[Entry]]:
    """In order, each page with at most so many entries of one attempt number, and not much over so many bytes."""
    page: list[Entry] = []
    room = size
    for entry in entries:
        if page and (len(page) == most or room < 0 or entry.attempt != page[0].attempt):
            yield page
            page, room = [], size
        page.append(entry)
        room -= len(entry.envelope)
    if page:
        yield page


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
    return sorted(entry for entry in entries if entry.id > after)
