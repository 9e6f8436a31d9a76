"""Streams that are not kept up with the ticks – full, or refilled after a loss – brought back chunk by chunk.

A stream's own end says where to go on: the id names its tick. So a refill after a flush, after a lost tail
and after back-pressure are one thing, and it can be repeated from any point.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from db import relay as sql
from db.pool import Connection
from db.relay import Share
from db.shards import Shards
from outbox.log import get
from relay import metrics
from relay.entries import ZERO, Page, StreamId, Tick, across_ticks, row_of
from relay.ledger import Ledger, tick_of
from relay.look import TICK_BYTES, TICK_ROWS
from relay.ship import Shipper, is_of_a_tick
from relay.snapshot import GENESIS, Snapshot

log = get("relay")
TICKS = 500  # read at once
ROOM = 0.8  # a full stream goes on when it is down to this part of its limit


@dataclass(frozen=True, slots=True)
class Chunk:
    """Ticks in a row, and the snapshot they begin at."""

    base: Snapshot
    ticks: list[Tick]

    @property
    def span(self) -> tuple[int, int, frozenset[int], str]:
        """The transactions to look through: a range, and single ones."""
        last = self.ticks[-1]
        if last.solo is not None:
            return 1, 1, frozenset({int(last.solo)}), str(last.snapshot)
        return self.base.xmax, last.snapshot.xmax, frozenset(self.base.xip), str(last.snapshot)


def chunk_of(ticks: list[Tick], first: int, channel: str, rows: int, size: int) -> Chunk | None:
    """The ticks from number `first` on with about so many rows and bytes, all made by as many shards of the channel; a
    solo tick stands alone. `ticks` begins with the one before, whose snapshot is the base; where that is gone, `first`
    only serves as the base."""
    if not ticks or ticks[-1].no < first:
        return None
    if ticks[0].no == first > 1:
        return chunk_of(ticks, first + 1, channel, rows, size) if len(ticks) > 1 else None
    base = ticks[0].snapshot if ticks[0].no < first else GENESIS
    chosen: list[Tick] = []
    for tick in (tick for tick in ticks if tick.no >= first):
        rows, size = rows - tick.rows, size - tick.bytes
        other = bool(chosen) and tick.placement.of(channel) != chosen[0].placement.of(channel)
        if chosen and (rows < 0 or size < 0 or tick.solo is not None or other):
            break
        chosen.append(tick)
        if tick.solo is not None:
            break
    return Chunk(base, chosen)


async def catch_up(conn: Connection, shipper: Shipper, ledger: Ledger) -> bool:
    """One chunk for each stream that is behind. Whether anything moved."""
    moved = False
    for stream in list(ledger.behind):
        moved |= await catch_up_stream(conn, shipper, ledger, stream)
    return moved


async def catch_up_stream(conn: Connection, shipper: Shipper, ledger: Ledger, stream: str) -> bool:
    state = await shipper.streams.state(stream)
    shipper.lengths[stream] = state.length
    if not state.usable or state.length > ROOM * shipper.max_length:
        return False
    first = ledger.behind[stream]
    if first is None or state.top != ledger.top(stream):  # lost entries again, or another relay appended
        first = await locate(conn, shipper, stream, state.top)
        if first is None:
            return True
    records = await sql.ticks_from(conn, first, TICKS)
    ticks, channel = [tick_of(record) for record in records], shipper.keys.place(stream).channel
    chunk = chunk_of(ticks, first, channel, TICK_ROWS, TICK_BYTES)
    if chunk is None:
        return_live(ledger, stream, state.top)
        return True
    entries = await unsettled(conn, shipper, chunk, stream, state.top)
    top, problem = await shipper.append(stream, entries, state.top)
    metrics.REFILLED.labels(stream).inc(sum(page.entries for page in entries if page.top <= top))
    if problem:
        ledger.behind[stream] = None  # something else was appended, or nothing fits: look again
        return False
    advance(ledger, stream, chunk, top, whole=len(entries) < solo_page(chunk))
    return True


async def locate(conn: Connection, shipper: Shipper, stream: str, top: StreamId) -> int | None:
    """The tick to go on from: the one that made the stream's last entry. None where the stream begins anew."""
    first, last_ms = await sql.edge_ticks(conn)
    if first is None:
        return 1
    if top == ZERO:
        return first
    at = await sql.tick_at(conn, top.ms)
    if at is None:
        return first  # older than any tick kept
    if at["ms"] == top.ms:
        number: int = at["no"]
        return number
    await begin_anew(shipper, stream, top, last_ms or 0)
    return None


async def begin_anew(shipper: Shipper, stream: str, top: StreamId, last_ms: int) -> None:
    """The stream ends at no tick of ours: an entry added by hand, or a history that Postgres lost in a failover.
    Nothing could be appended in order behind it, so it begins anew from what Postgres knows to be open."""
    log.error("relay.stream_from_another_history", stream=stream, found=str(top), last_tick_ms=last_ms)
    await shipper.streams.delete(stream)


async def disown(conn: Connection, shipper: Shipper, ledger: Ledger, channels: Mapping[str, Shards]) -> None:
    """Let no stream end behind the last tick when the next one is made: that might come to have the milliseconds of
    one that Postgres has lost, and its rows the ids of lost rows (a promoted standby that lagged gives them out again).
    Then they would look as if they were there already. A stream that ends at a tick of another relay is left alone."""
    last_ms, keys = ledger.tick.ms if ledger.tick else 0, shipper.keys
    possible = (name for channel, each in channels.items() for name in keys.streams(channel, each.readable))
    names = list(dict.fromkeys([*ledger.tops, *possible]))
    for stream, state in zip(names, await shipper.streams.states(names), strict=True):
        if state.top.ms > last_ms and not await is_of_a_tick(conn, state.top):
            await begin_anew(shipper, stream, state.top, last_ms)
            shipper.leave_behind(ledger, stream)


async def unsettled(
    conn: Connection, shipper: Shipper, chunk: Chunk, stream: str, top: StreamId
) -> list[Page]:
    channel, priority, shard = shipper.keys.place(stream)
    last, shards = chunk.ticks[-1], chunk.ticks[-1].placement.of(channel)
    if shard >= shards:
        return []  # there was no such stream then
    after = top.row if last.solo is not None and last.ms == top.ms else chunk.ticks[0].floor
    share = Share(channel, priority, shards, shard)
    records = await sql.unsettled_rows(conn, chunk.span, share, after, solo_page(chunk))
    return across_ticks(chunk.ticks, map(row_of, records), top)


def solo_page(chunk: Chunk) -> int:
    """How many rows to read at once: one big transaction in pages, anything else whole."""
    last = chunk.ticks[-1]
    return max(1, last.rows) if last.solo is not None else 2**31


def advance(ledger: Ledger, stream: str, chunk: Chunk, top: StreamId, *, whole: bool) -> None:
    last = chunk.ticks[-1]
    ledger.tops[stream] = top
    if not whole:
        ledger.behind[stream] = last.no
    elif ledger.tick and last.no >= ledger.tick.no:
        return_live(ledger, stream, top)
    else:
        ledger.behind[stream] = last.no + 1


def return_live(ledger: Ledger, stream: str, top: StreamId) -> None:
    del ledger.behind[stream]
    ledger.tops[stream] = top
    metrics.BEHIND.labels(stream).set(0)
    log.info("relay.stream_caught_up", stream=stream, top=str(top))
