"""What the relay knows of its own work: the ticks in Postgres, and where each stream should end."""

import json
from dataclasses import dataclass, field

from asyncpg import Record

from db import relay as sql
from db.pool import Connection
from outbox.errors import OutboxError
from outbox.streams import Keys
from relay.entries import ZERO, StreamId, Tick
from relay.floor import Floor
from relay.look import Part
from relay.placement import UNSHARDED, Placement, placement_of
from relay.snapshot import GENESIS, Snapshot


@dataclass(slots=True)
class Ledger:
    """The last tick and what follows from it. Rebuilt from Postgres whenever it may be out of date."""

    previous: Snapshot = GENESIS
    tick: Tick | None = None
    # Whether the last tick may not be whole in Redis. Tick n+1 is made only when tick n is (invariant I3).
    in_doubt: bool = False
    # Another relay has been at work: Postgres must be asked again.
    stale: bool = False
    tops: dict[str, StreamId] = field(default_factory=dict)
    # Streams that are not kept up with the ticks, with the tick to go on from where it is known.
    behind: dict[str, int | None] = field(default_factory=dict)
    floor: Floor = field(default_factory=Floor)
    # By what the next tick is made.
    placement: Placement = UNSHARDED

    @property
    def snapshot(self) -> Snapshot:
        return self.tick.snapshot if self.tick else GENESIS

    def top(self, stream: str) -> StreamId:
        return self.tops.get(stream, ZERO)

    def add(self, tick: Tick) -> None:
        self.previous, self.tick, self.in_doubt = self.snapshot, tick, True


def tick_of(record: Record) -> Tick:
    return Tick(
        no=record["no"],
        ms=record["ms"],
        snapshot=Snapshot.parse(record["snapshot"]),
        tops=json.loads(record["tops"]),
        behind=frozenset(record["behind"]),
        solo=record["solo"],
        rows=record["rows"],
        bytes=record["bytes"],
        floor=record["floor"],
        placement=placement_of(record),
    )


class AnotherHistoryError(OutboxError):
    """The database's transaction ids are not those that the ticks were made by. A person must decide."""


async def load(conn: Connection, keys: Keys) -> Ledger:
    """The ledger as the last tick tells it. That tick is in doubt: its relay may have died with it in hand.

    Raises AnotherHistoryError where the database was restored from a dump, or moved by logical replication:
    nothing that commits there would ever look new.
    """
    records = await sql.last_ticks(conn)
    if not records:
        return Ledger()
    tick = tick_of(records[0])
    if await sql.xmax_now(conn) < tick.snapshot.xmax or await sql.passed_over(conn):
        raise AnotherHistoryError(
            "the last tick was made by another cluster's transaction ids: this database was restored from a dump, or "
            "moved. Stop all relays, then run: outbox relay rebase"
        )
    return Ledger(
        previous=tick_of(records[1]).snapshot if len(records) > 1 else GENESIS,
        tick=tick,
        in_doubt=True,
        tops={keys.of_lane(lane): StreamId.parse(top) for lane, top in tick.tops.items()},
        behind=dict.fromkeys(map(keys.of_lane, tick.behind)),
        floor=Floor(tick.floor),
    )


def head_of(ledger: Ledger, keys: Keys, floor: int) -> sql.TickHead:
    """Of the tick that is next."""
    return sql.TickHead(
        no=ledger.tick.no + 1 if ledger.tick else 1,
        after_ms=ledger.tick.ms if ledger.tick else 0,
        tops={keys.lane(stream): str(top) for stream, top in ledger.tops.items()},
        behind=[keys.lane(stream) for stream in ledger.behind],
        floor=floor,
        placement=ledger.placement.no,
    )


async def add_tick(conn: Connection, ledger: Ledger, keys: Keys, part: Part) -> Tick | None:
    """Make the next tick, durably, before anything of it is appended. None where another relay made it."""
    head, solo, number = head_of(ledger, keys, part.floor), part.solo, part.rows
    max_id = max(block.last for block in part.blocks) if solo is None else await sql.solo_top(conn, solo)
    ms = await sql.insert_tick(conn, sql.NewTick(head, str(part.snapshot), solo, number, part.bytes, max_id))
    if ms is None:
        return None
    rest = solo, number, part.bytes, head.floor, ledger.placement
    tick = Tick(head.no, ms, part.snapshot, head.tops, frozenset(head.behind), *rest)
    ledger.add(tick)
    return tick
