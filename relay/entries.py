"""What goes into which stream under which id. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, Self

from asyncpg import Record

from outbox.streams import Keys
from relay.placement import Placement
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
    """An outbox row as a refill reads it. `channels` has spaces between the names; `envelope` is the entry's JSON, made
    by Postgres."""

    id: int
    xid: Xid
    channels: str
    priority: str
    attempt: int
    origin: str
    envelope: str


def row_of(record: Record) -> Row:
    """The first columns of a record, which every statement that reads rows has in this order (`{row}`)."""
    return Row._make(record[: len(Row._fields)])


class Block(NamedTuple):
    """Rows of one tick whose ids lie close together and which go the same way: as ticks carry them, because there are
    many. A tuple that sorts by id. Postgres has written the `lines`: for each row, in the order of ids, its id, a
    space, its envelope, a line break."""

    first: int
    last: int
    channels: str
    priority: str
    attempt: int
    slot: int  # tells the shard in each of its channels
    rows: int
    lines: bytes


def block_of(record: Record) -> Block:
    """The first columns of a record, which every statement that reads blocks has in this order (`{blocks}`)."""
    return Block._make(record[: len(Block._fields)])


def rows_of(block: Block) -> Iterator[tuple[int, int, bytes]]:
    """Id, attempt number and line of each row."""
    return ((int(line[: line.index(b" ")]), block.attempt, line) for line in block.lines.split(b"\n") if line)


def regrouped(blocks: Sequence[Block], after: int = 0) -> list[Block]:
    """The rows of one stream's blocks behind the id `after`, in blocks that do not reach into each other."""
    rows = sorted(row for block in blocks for row in rows_of(block) if row[0] > after)
    found = []
    for attempt, together in groupby(rows, itemgetter(1)):
        ids, _, lines = zip(*together, strict=True)
        text = b"\n".join(lines) + b"\n"
        found.append(Block(ids[0], ids[-1], "", blocks[0].priority, attempt, 0, len(ids), text))
    return found


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
    floor: int  # no row of this tick, or of a later one, has an id up to it
    placement: Placement


class Page(NamedTuple):
    """Entries of one stream, in order and of one attempt number: what one script call adds, or a part of that. A line's
    id is `begin` and what the line begins with; `top` is the last one's."""

    top: StreamId
    entries: int
    attempt: int
    begin: str
    lines: bytes


def by_stream(blocks: Iterable[Block], keys: Keys, placement: Placement) -> dict[str, list[Block]]:
    """Blocks of one tick by stream, in the order of their ids."""
    streams: dict[str, list[Block]] = {}
    for block in sorted(blocks):
        for channel in block.channels.split():
            shard = block.slot % placement.of(channel)
            streams.setdefault(keys.stream(channel, block.priority, shard), []).append(block)
    return {stream: in_order(of_one) for stream, of_one in streams.items()}


def in_order(blocks: list[Block]) -> list[Block]:
    """Blocks of one stream reach into each other where it gets rows of other channels, slots or attempt numbers between
    theirs: those are taken apart, and it no longer matters what else a row goes to."""
    ordered: list[Block] = []
    for tangled in overlapping(blocks):
        ordered += tangled if len(tangled) == 1 else regrouped(tangled)
    return ordered


def overlapping(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """From blocks in the order of their first ids, those that reach into each other."""
    together: list[Block] = []
    last = 0
    for block in blocks:
        if together and block.first > last:
            yield together
            together = []
        together.append(block)
        last = max(last, block.last)
    if together:
        yield together


def missing(blocks: Sequence[Block], ms: int, top: StreamId) -> Sequence[Block]:
    """What a stream that ends at `top` does not have of a tick's blocks."""
    if top.ms != ms:
        return blocks if top.ms < ms else []
    left: list[Block] = []
    for block in blocks:
        if block.first > top.row:
            left.append(block)
        elif block.last > top.row:
            left += regrouped([block], top.row)
    return left


def of_tick(ms: int, blocks: Iterable[Block]) -> Iterator[Page]:
    """The entries of one tick in one stream."""
    begin = f"{ms}-"
    return (Page(StreamId(ms, b.last), b.rows, b.attempt, begin, b.lines) for b in blocks)


def pages(parts: Iterable[Page], most: int, size: int) -> Iterator[Page]:
    """The same entries in pages of at most so many, and not much over so many bytes, unless a part alone is more."""
    page: list[Page] = []
    entries = room = 0
    for part in parts:
        fits = entries + part.entries <= most and room >= 0
        if page and not (fits and part.attempt == page[0].attempt and part.begin == page[0].begin):
            yield joined(page, entries)
            page = []
        if not page:
            entries, room = 0, size
        page.append(part)
        entries += part.entries
        room -= len(part.lines)
    if page:
        yield joined(page, entries)


def joined(parts: Sequence[Page], entries: int) -> Page:
    return parts[-1]._replace(entries=entries, lines=b"".join([part.lines for part in parts]))


def across_ticks(ticks: Sequence[Tick], rows: Iterable[Row], after: StreamId) -> list[Page]:
    """The entries of one stream out of several ticks in a row, those behind `after` only, in order and one by one.

    A row belongs to the first tick that sees its transaction.
    """
    tops = [tick.snapshot.xmax for tick in ticks]
    entries = []
    for row in rows:
        at = bisect_right(tops, row.xid)
        while not ticks[at].snapshot.sees(row.xid):
            at += 1
        entry_id = StreamId(ticks[at].ms, row.id)
        if entry_id > after:
            entries.append(Page(entry_id, 1, row.attempt, "", f"{entry_id} {row.envelope}\n".encode()))
    return sorted(entries)
