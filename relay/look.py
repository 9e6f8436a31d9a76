"""Looking at the log: what no tick holds yet, as one snapshot sees it, and the tick it makes."""

from collections.abc import Iterable
from dataclasses import dataclass

from asyncpg import Record

from db import relay as sql
from db.pool import Connection
from db.relay import WHOLE, Slots, Wanted
from relay.entries import Block, block_of
from relay.snapshot import Snapshot, Xid, bound

TICK_ROWS = 20_000  # a tick holds no more, unless one transaction alone does
TICK_BYTES = 8 * 1024 * 1024  # nor much more of entries: a relay must fit a small container, whatever comes

Created = dict[str, int]  # how many rows producers wrote, by channel


@dataclass(frozen=True, slots=True)
class Part:
    """What the next tick shall hold. `solo`: the one transaction of a tick that is more than one look reads; its blocks
    are read when it is shipped."""

    snapshot: Snapshot
    blocks: list[Block]
    solo: Xid | None
    rows: int
    bytes: int
    floor: int


@dataclass(frozen=True, slots=True)
class Look:
    """What `seen` sees and `base` does not. `base` is the last tick's snapshot, or a later one that sees no row
    more."""

    base: Snapshot
    seen: Snapshot
    rows: int  # that were found
    all_read: bool  # whether those are all
    newest: Xid  # the last of their transactions
    part: Part | None  # of them, if there are any, what the next tick shall hold
    created: Created  # of that part


async def look(conn: Connection, base: Snapshot, floor: int, slots: Slots = WHOLE) -> Look:
    """One statement. Repeating it is safe: it changes nothing."""
    wanted = Wanted(base.xmax, base.xip, TICK_ROWS + 1, TICK_BYTES, floor)
    records = await sql.look(conn, wanted, slots)
    head = records[0]
    seen, rows = Snapshot.parse(head["seen"]), head["found"]
    if not rows:
        return Look(base, seen, 0, all_read=True, newest=base.xmax, part=None, created={})
    all_read = rows <= TICK_ROWS and head["size"] <= TICK_BYTES
    # Cut between transactions, because none may be split between ticks: so does the statement with its blocks.
    snapshot, solo = bound(base, seen, [head["oldest"], head["newest"]], all_read=all_read)
    records = [record for record in records if record["first"] is not None]
    part = Part(
        snapshot=snapshot,
        blocks=[block_of(record) for record in records],
        solo=solo,
        rows=rows if solo is not None else sum(record["rows"] for record in records),
        bytes=int(head["size"] if solo is not None else sum(record["bytes"] for record in records)),
        floor=floor,
    )
    return Look(base, seen, rows, all_read, head["newest"], part, created(records))


def created(records: Iterable[Record]) -> Created:
    """From records with `{blocks}`."""
    found: Created = {}
    for record in records:
        for channel in record["channels"].split():
            found[channel] = found.get(channel, 0) + record["produced"]
    return found
