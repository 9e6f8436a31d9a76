"""Looking at the log: the rows that no tick holds yet, as one snapshot sees them, and the tick they make."""

from dataclasses import dataclass

from db import relay as sql
from db.pool import Connection
from relay.entries import Row, row_of
from relay.snapshot import Snapshot, Xid, bound

TICK_ROWS = 20_000  # a tick holds no more, unless one transaction alone does
TICK_BYTES = 8 * 1024 * 1024  # nor much more of payload: a relay must fit a small container, whatever comes


@dataclass(frozen=True, slots=True)
class Part:
    """What the next tick shall hold. `solo`: the one transaction of a tick that is more than one look reads."""

    snapshot: Snapshot
    rows: list[Row]
    solo: Xid | None
    bytes: int
    floor: int


@dataclass(frozen=True, slots=True)
class Look:
    """What `seen` sees and `base` does not, in the order of transactions. `base` is the last tick's snapshot, or a
    later one that sees no row more."""

    base: Snapshot
    seen: Snapshot
    rows: list[Row]
    sizes: list[int]  # the payloads' bytes up to each row
    all_read: bool  # whether those are all
    floor: int  # none of them has an id up to it

    def part(self) -> Part:
        """Cut between transactions, because none may be split between ticks."""
        snapshot, solo = bound(self.base, self.seen, [row.xid for row in self.rows], all_read=self.all_read)
        rows = self.rows if self.all_read else [row for row in self.rows if snapshot.sees(row.xid)]
        return Part(snapshot, rows, solo, self.sizes[len(rows) - 1], self.floor)


async def look(conn: Connection, base: Snapshot, floor: int) -> Look:
    """One statement. Repeating it is safe: it changes nothing."""
    head, *records = await sql.look(conn, base.xmax, base.xip, TICK_ROWS + 1, TICK_BYTES, floor)
    sizes = [int(record["bytes"]) for record in records]
    return Look(
        base=base,
        seen=Snapshot.parse(head["envelope"]),
        rows=[row_of(record) for record in records],
        sizes=sizes,
        all_read=not records or (len(records) <= TICK_ROWS and sizes[-1] <= TICK_BYTES),
        floor=floor,
    )
