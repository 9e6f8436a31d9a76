"""Look and tick in one statement: for a relay at rest, whose next rows are few and are waited for.

What is too much for it, or was copied from another database, makes no tick here: relay.look reads it then.
"""

from typing import NamedTuple

from asyncpg import Record

from db import relay as sql
from db.pool import Connection
from db.relay import Wanted
from outbox.streams import Keys
from relay.entries import Tick, block_of, by_stream
from relay.ledger import Ledger, head_of
from relay.look import Created, created
from relay.placement import Placement
from relay.ship import Blocks
from relay.snapshot import Snapshot

QUICK_ROWS = 200  # to find one row more than that for nothing takes half a millisecond
QUICK_BYTES = 256 * 1024


class Made(NamedTuple):
    """What a look came to: a tick of what it found, or none: there was nothing, or another relay was first."""

    seen: Snapshot
    found: bool
    all_read: bool
    tick: Tick | None
    created: Created
    streams: Blocks


async def look_and_tick(conn: Connection, ledger: Ledger, keys: Keys, base: Snapshot) -> Made | None:
    """The tick is durable when this returns. None where rows were found that are not for one statement.

    Not to be repeated by itself: where the reply is lost, the ledger is loaded anew, and the tick that may have been
    made is in doubt.
    """
    head = head_of(ledger, keys, ledger.floor.prove(base))
    wanted = Wanted(base.xmax, base.xip, QUICK_ROWS, QUICK_BYTES, head.floor)
    records = await sql.look_and_tick(conn, head, wanted, ledger.placement.slots)
    first = records[0]
    seen, found = Snapshot.parse(first["seen"]), first["found"] > 0
    if first["ms"] is None:
        return Made(seen, found, True, None, {}, {}) if first["fits"] or not found else None
    ledger.add(tick := tick_of(head, seen, first, ledger.placement))
    streams = by_stream(map(block_of, records), keys, tick.placement)
    return Made(seen, found, True, tick, created(records), streams)


def tick_of(head: sql.TickHead, snapshot: Snapshot, record: Record, placement: Placement) -> Tick:
    return Tick(
        no=head.no,
        ms=record["ms"],
        snapshot=snapshot,
        tops=head.tops,
        behind=frozenset(head.behind),
        solo=None,
        rows=record["found"],
        bytes=int(record["size"]),
        floor=head.floor,
        placement=placement,
    )
