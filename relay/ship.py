"""A tick into the streams: compare-and-append, and what a stream that ends elsewhere means."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from db import relay as sql
from db.pool import Connection
from outbox.log import get
from outbox.streams import Keys
from relay import metrics
from relay.entries import Entry, Row, StreamId, Tick, by_stream, page_of
from relay.ledger import Ledger, row_of
from relay.streams import PAGE, Appended, Elsewhere, Refused, Streams

log = get("relay")
TICK_ROWS = 5000  # a tick holds no more, unless one transaction alone does
TICK_BYTES = 8 * 1024 * 1024  # nor much more of payload: a relay must fit a small container, whatever comes
PAGE_BYTES = 1024 * 1024  # a script call


@dataclass(frozen=True, slots=True)
class Job:
    """One tick on its way. Its streams do not wait for each other, but they share one connection."""

    conn: Connection
    lock: asyncio.Lock
    ledger: Ledger
    tick: Tick

    async def is_ours(self, top: StreamId) -> bool:
        """Whether an id above the expected one is a relay's own."""
        async with self.lock:
            return await is_of_a_tick(self.conn, top)


async def is_of_a_tick(conn: Connection, top: StreamId) -> bool:
    """An id that belongs to no tick comes from outside, or from a history that Postgres has lost: nothing may
    be concluded from it."""
    known = await sql.tick_at(conn, top.ms)
    return known is not None and known["ms"] == top.ms


@dataclass(slots=True)
class Shipper:
    """Appends what ticks hold. Every call may be repeated: the stream itself refuses what it has."""

    streams: Streams
    keys: Keys
    max_length: int
    lengths: dict[str, int]

    @property
    def page(self) -> int:
        """Entries a call; a fifth of a short limit, so that a stream below ROOM of it takes one."""
        return max(1, min(PAGE, self.max_length // 5))

    async def ship_tick(
        self, conn: Connection, ledger: Ledger, tick: Tick, rows: Sequence[Row] | None
    ) -> None:
        """Bring the last tick wholly into Redis; `rows` are its rows if they are at hand."""
        if tick.solo is not None:
            await self.ship_solo(conn, ledger, tick)
        else:
            if rows is None:
                rows = await self.read_tick(conn, ledger, tick)
            await self.ship_rows(conn, ledger, tick, rows)
        ledger.in_doubt = False

    async def read_tick(self, conn: Connection, ledger: Ledger, tick: Tick) -> list[Row]:
        before = ledger.previous
        records = await sql.tick_rows(conn, before.xmax, tick.snapshot.xmax, before.xip, str(tick.snapshot))
        return [row_of(record) for record in records]

    async def ship_solo(self, conn: Connection, ledger: Ledger, tick: Tick) -> None:
        assert tick.solo is not None
        after = 0
        page = max(1, tick.rows)  # as many as one look could carry
        while records := await sql.solo_rows(conn, tick.solo, after, page):
            await self.ship_rows(conn, ledger, tick, [row_of(record) for record in records])
            after = records[-1]["id"]

    async def ship_rows(self, conn: Connection, ledger: Ledger, tick: Tick, rows: Sequence[Row]) -> None:
        streams = by_stream(tick.ms, rows, self.keys)
        job = Job(conn, asyncio.Lock(), ledger, tick)
        live = [item for item in streams.items() if item[0] not in ledger.behind]
        # All are waited for, even where one fails: none may still be at work when the tick is tried again.
        results = await asyncio.gather(
            *(self.ship_stream(job, *item) for item in live), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def ship_stream(self, job: Job, stream: str, entries: list[Entry]) -> None:
        while entries:
            page = page_of(entries, self.page, PAGE_BYTES)
            expected = job.ledger.top(stream)
            match await self.append(stream, page, expected):
                case Appended():
                    job.ledger.tops[stream] = page[-1].id
                    entries = entries[len(page) :]
                case Refused(why):
                    log.warning("relay.stream_refused", stream=stream, reason=why)
                    self.leave_behind(job.ledger, stream)
                    return
                case Elsewhere(top):
                    if top < expected or not await job.is_ours(top):
                        self.lost(job.ledger, stream, expected, top)
                        return
                    # An append in doubt, or another relay: what is there is skipped.
                    job.ledger.tops[stream] = top
                    rest = [entry for entry in entries if entry.id > top]
                    metrics.SKIPPED.labels(stream).inc(len(entries) - len(rest))
                    entries = rest

    async def append(
        self, stream: str, page: Sequence[Entry], expected: StreamId
    ) -> Appended | Elsewhere | Refused:
        """Compare-and-append under the length limit: a stream that is full takes nothing."""
        if self.lengths.setdefault(stream, 0) + len(page) > self.max_length:
            return Refused(f"it holds {self.lengths[stream]} entries and may hold {self.max_length}")
        result = await self.streams.append(stream, page, expected)
        if isinstance(result, Appended):
            self.lengths[stream] = result.length
            metrics.SHIPPED.labels(stream).inc(len(page))
            metrics.QUEUE_LENGTH.labels(stream).set(result.length)
        return result

    def lost(self, ledger: Ledger, stream: str, expected: StreamId, top: StreamId) -> None:
        log.error("relay.redis_lost_entries", stream=stream, expected=str(expected), found=str(top))
        metrics.LOSSES.labels(stream).inc()
        self.leave_behind(ledger, stream)

    def leave_behind(self, ledger: Ledger, stream: str) -> None:
        """The ticks go on without this stream; relay.catch_up brings it back."""
        ledger.behind[stream] = None
        metrics.BEHIND.labels(stream).set(1)
