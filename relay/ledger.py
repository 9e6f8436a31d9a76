"""What the relay knows of its own work: the ticks in Postgres, and where each stream should end."""

import json
from dataclasses import dataclass, field

from asyncpg import Record

from db import relay as sql
from db.pool import Connection
from relay.entries import ZERO, Row, StreamId, Tick
from relay.snapshot import GENESIS, Snapshot, Xid


@dataclass(slots=True)
class Ledger:
    """The last tick and what follows from it. Rebuilt from Postgres whenever it may be out of date."""

    previous: Snapshot = GENESIS
    tick: Tick | None = None
    # Whether the last tick may not be whole in Redis. Tick n+1 is made only when tick n is (invariant I3).
    in_doubt: bool = False
    tops: dict[str, StreamId] = field(default_factory=dict)
    # Streams that are not kept up with the ticks, with the tick to go on from where it is known.
    behind: dict[str, int | None] = field(default_factory=dict)

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
    )


def row_of(record: Record) -> Row:
    return Row(
        id=record["id"],
        xid=Xid(record["xid"]),
        channels=record["channels"],
        priority=record["priority"],
        attempt=record["attempt"],
        origin=record["origin"],
        envelope=record["envelope"],
    )


async def load(conn: Connection) -> Ledger:
    """The ledger as the last tick tells it. That tick is in doubt: its relay may have died with it in hand."""
    records = await sql.last_ticks(conn)
    if not records:
        return Ledger()
    tick = tick_of(records[0])
    return Ledger(
        previous=tick_of(records[1]).snapshot if len(records) > 1 else GENESIS,
        tick=tick,
        in_doubt=True,
        tops={stream: StreamId.parse(top) for stream, top in tick.tops.items()},
        behind=dict.fromkeys(tick.behind),
    )


async def add_tick(
    conn: Connection, ledger: Ledger, snapshot: Snapshot, rows: list[Row], solo: Xid | None
) -> Tick | None:
    """Make the next tick, durably, before anything of it is appended. None where another relay made it."""
    no = ledger.tick.no + 1 if ledger.tick else 1
    tops = {stream: str(top) for stream, top in ledger.tops.items()}
    max_id = max(row.id for row in rows) if solo is None else await sql.solo_top(conn, solo)
    new = sql.NewTick(
        no=no,
        after_ms=ledger.tick.ms if ledger.tick else 0,
        snapshot=str(snapshot),
        tops=json.dumps(tops),
        behind=list(ledger.behind),
        solo=solo,
        rows=len(rows),
        max_id=max_id,
    )
    ms = await sql.insert_tick(conn, new)
    if ms is None:
        return None
    tick = Tick(no, ms, snapshot, tops, frozenset(ledger.behind), solo, len(rows))
    ledger.add(tick)
    return tick
