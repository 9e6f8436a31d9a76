"""A tick into the streams: compare-and-append, and what a stream that ends elsewhere means."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db import relay as sql
from db.pool import Connection
from outbox.log import get
from outbox.streams import Keys
from relay import metrics
from relay.entries import Block, Page, StreamId, Tick, block_of, by_stream, missing, of_tick, pages
from relay.ledger import Ledger
from relay.look import Created, created
from relay.streams import PAGE, Appended, Elsewhere, Refused, Streams

log = get("relay")
PAGE_BYTES = 512 * 1024  # a script call

# What one tick holds, by stream, in the order of ids.
Blocks = Mapping[str, Sequence[Block]]


class Fitting:
    """Pages for as long as the stream has room for them; `full` says so where they ended early."""

    def __init__(self, pages: Iterator[Page], most: int, length: int) -> None:
        self.pages = pages
        self.most = most
        self.length = length
        self.full: Refused | None = None

    def __iter__(self) -> Iterator[Page]:
        for page in self.pages:
            if self.length + page.entries > self.most:
                self.full = Refused(f"it holds {self.length} entries and may hold {self.most}")
                return
            self.length += page.entries
            yield page


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


def count_created(rows: Created) -> None:
    for channel, number in rows.items():
        metrics.CREATED.labels(channel).inc(number)


def rows_in(blocks: Iterable[Block]) -> int:
    return sum(block.rows for block in blocks)


async def finished(*work: Awaitable[Any]) -> list[Any]:
    """What each of them returns. All are waited for, even where one fails: none may still be at work when the tick is
    tried again."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


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

    async def ship_tick(self, job: Job, blocks: Blocks | None) -> None:
        """Bring the last tick wholly into Redis; `blocks` are what it holds if that is at hand."""
        if job.tick.solo is not None:
            await self.ship_solo(job)
        else:
            await self.ship_blocks(job, await self.read_tick(job) if blocks is None else blocks)
        job.ledger.in_doubt = False

    async def read_tick(self, job: Job) -> Blocks:
        before, tick = job.ledger.previous, job.tick
        span = before.xmax, tick.snapshot.xmax, before.xip, str(tick.snapshot)
        records = await sql.tick_rows(job.conn, span, tick.floor, tick.placement.slots)
        return by_stream(map(block_of, records), self.keys, tick.placement)

    async def ship_solo(self, job: Job) -> None:
        solo, placement = job.tick.solo, job.tick.placement
        assert solo is not None
        after = 0
        page = max(1, job.tick.rows)  # as many as one look could carry
        while records := await sql.solo_rows(job.conn, solo, after, page, placement.slots):
            await self.ship_blocks(job, by_stream(map(block_of, records), self.keys, placement))
            count_created(created(records))
            after = max(record["last"] for record in records)

    async def ship_blocks(self, job: Job, blocks: Blocks) -> None:
        live = [item for item in blocks.items() if item[0] not in job.ledger.behind]
        await finished(*(self.ship_stream(job, *item) for item in live))

    async def ship_stream(self, job: Job, stream: str, blocks: Sequence[Block]) -> None:
        """Whatever is there already is skipped: an append in doubt, or another relay."""
        ledger, ms = job.ledger, job.tick.ms
        while blocks := missing(blocks, ms, ledger.top(stream)):
            top, problem = await self.append(stream, of_tick(ms, blocks), ledger.top(stream))
            ledger.tops[stream] = top
            match problem:
                case None:
                    return
                case Refused(why):
                    log.warning("relay.stream_refused", stream=stream, reason=why)
                    self.leave_behind(ledger, stream)
                    return
                case Elsewhere(found):
                    if found < top or not await job.is_ours(found):
                        self.lost(ledger, stream, top, found)
                        return
                    ledger.tops[stream] = found
                    skipped = rows_in(missing(blocks, ms, top)) - rows_in(missing(blocks, ms, found))
                    metrics.SKIPPED.labels(stream).inc(skipped)

    async def append(
        self, stream: str, entries: Iterable[Page], expected: StreamId
    ) -> tuple[StreamId, Refused | Elsewhere | None]:
        """Compare-and-append under the length limit: a stream that is full takes nothing. Returns where the stream
        ends, as far as entries were added, and why not all were."""
        fitting = Fitting(pages(entries, self.page, PAGE_BYTES), self.max_length, self.lengths.get(stream, 0))
        for result in await self.streams.append(stream, fitting, expected):
            match result:
                case Appended(number, top, length):
                    metrics.SHIPPED.labels(stream).inc(number)
                    metrics.QUEUE_LENGTH.labels(stream).set(length)
                    self.lengths[stream] = length
                    expected = top
                case problem:
                    return expected, problem
        return expected, fitting.full

    def lost(self, ledger: Ledger, stream: str, expected: StreamId, top: StreamId) -> None:
        log.error("relay.redis_lost_entries", stream=stream, expected=str(expected), found=str(top))
        metrics.LOSSES.labels(stream).inc()
        self.leave_behind(ledger, stream)

    def leave_behind(self, ledger: Ledger, stream: str) -> None:
        """The ticks go on without this stream; relay.catch_up brings it back."""
        ledger.behind[stream] = None
        metrics.BEHIND.labels(stream).set(1)
