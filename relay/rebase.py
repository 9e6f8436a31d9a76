"""A log that was copied into another cluster, begun anew there: `outbox relay rebase`.

Ticks go by transaction ids, which mean nothing in another cluster. So the rows that are still open become those of one
new transaction, what is settled goes, and one tick that holds nothing says where this cluster's history begins. Each
step may be repeated: one cut short anywhere leaves a log that is still foreign, and nothing open is lost.
"""

from dataclasses import dataclass

import asyncpg

from db import rebase as sql
from db import relay as relay_sql
from db import status
from db.pool import Connection
from db.rebase import Census, History
from db.shards import of_channels
from outbox.errors import OutboxError
from outbox.log import get
from outbox.streams import Keys
from relay.entries import ZERO
from relay.ledger import tick_of
from relay.streams import Streams

log = get("rebase")


class NotNowError(OutboxError):
    """A relay leads, or took the lead meanwhile: two histories would be written at once."""


@dataclass(frozen=True, slots=True)
class Partition:
    name: str
    from_id: int
    to_id: int
    census: Census

    @property
    def settled(self) -> bool:
        return self.census.rows > 0 and self.census.open == 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is, and so what would be done. `leader`: who holds the lease; `streams`: entries by stream."""

    history: History
    leader: str | None
    partitions: list[Partition]
    default: Census
    streams: dict[str, int]

    @property
    def open(self) -> int:
        return sum(part.census.open for part in self.partitions) + self.default.open

    @property
    def rows(self) -> int:
        return sum(part.census.rows for part in self.partitions) + self.default.rows

    def droppable(self) -> list[Partition]:
        """Whole ones without an open row, into which nobody can write any more."""
        passed = max(self.history.drawn, self.history.top_id)
        return [part for part in self.partitions if part.settled and part.to_id <= passed]


@dataclass(frozen=True, slots=True)
class Done:
    opened: int
    settled: int
    dropped: int
    streams: int


async def plan(conn: Connection, streams: Streams, keys: Keys) -> Plan:
    """Reads the whole log, and changes nothing."""
    history = await sql.history(conn)
    bounds = await relay_sql.partitions(conn)
    parts = [Partition(**row, census=await sql.census(conn, row["from_id"], row["to_id"])) for row in bounds]
    names = await stream_names(conn, keys)
    states = await streams.states(names)
    lengths = {name: state.length for name, state in zip(names, states, strict=True) if state.top > ZERO}
    return Plan(history, await leader(conn), parts, await sql.default_census(conn), lengths)


async def leader(conn: Connection) -> str | None:
    record = await status.relay(conn)
    left = record["lease_seconds"]
    return record["holder"] if left is not None and left > 0 else None


async def stream_names(conn: Connection, keys: Keys) -> list[str]:
    """Of every lane and shard there may be, and of those that the last tick knew."""
    ticks = [tick_of(record) for record in await relay_sql.last_ticks(conn)][:1]
    known = [keys.of_lane(lane) for tick in ticks for lane in (*tick.tops, *tick.behind)]
    channels = await of_channels(conn)
    possible = [stream for name, each in channels.items() for stream in keys.streams(name, each.readable)]
    return list(dict.fromkeys([*known, *possible]))


async def carry_out(conn: Connection, streams: Streams, planned: Plan) -> Done:
    """Raises NotNowError where a relay leads. Streams first: what they hold comes again from the open rows, and a run
    that is cut short after them finds the log as foreign as before."""
    if planned.leader is not None:
        raise NotNowError(f"the relay {planned.leader} leads: stop all relays first")
    for name in planned.streams:
        await streams.delete(name)
    await sql.raise_identities(conn)
    dropped = [part for part in planned.droppable() if await dropped_whole(conn, part)]
    opened, settled = await begun_anew(conn, planned.history)
    settled += sum(part.census.rows for part in dropped)
    done = Done(opened, settled, len(dropped), len(planned.streams))
    log.info("rebase.done", opened=opened, settled=settled, partitions_dropped=len(dropped))
    return done


async def dropped_whole(conn: Connection, part: Partition) -> bool:
    try:
        return await sql.drop_if_settled(conn, part.name, part.from_id, part.to_id)
    except asyncpg.LockNotAvailableError:
        return False  # its rows are deleted one by one then


async def begun_anew(conn: Connection, history: History) -> tuple[int, int]:
    try:
        counts = await sql.begin_anew(conn, history)
    except asyncpg.SerializationError:
        counts = None
    if counts is None:
        raise NotNowError(
            "a relay took the lead, or somebody was erased, meanwhile: stop all relays and run it again"
        )
    return counts
