"""A model of Postgres as far as the relay can tell: transaction ids, snapshots, the log, the ticks, the lease.

Every method named as a statement of db/sql/relay.sql does what that one does, in one instant, as an autocommitted
statement does at read committed: with the snapshot of that instant.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg

from relay.snapshot import Snapshot, Xid


class Record:
    """As asyncpg's: by name or by position, in the order of the statement's columns."""

    def __init__(self, **columns: Any) -> None:
        self.columns = columns

    def __getitem__(self, key: str | int | slice) -> Any:
        return self.columns[key] if isinstance(key, str) else tuple(self.columns.values())[key]

    def keys(self) -> Iterable[str]:
        return self.columns.keys()


Records = list[Record]
BLOCK = (
    4  # ids a block: fewer than Postgres puts into one, more than a page of the model's short streams holds
)
CHANNELS = ["a", "b"]
USERS = 4  # as many slots as the model has at most
FIRST_XID, OLD = 700, datetime(2000, 1, 1, tzinfo=UTC)  # every row is older than any retention


@dataclass(slots=True, eq=False)
class Row:
    """A row of the log. `serial` tells the order in which its connection wrote it."""

    id: int
    xid: int
    channels: list[str]
    priority: str
    size: int
    attempt: int
    connection: int
    serial: int

    def shard(self, shards: int) -> int:
        """As notify.shard_of of its user: neighbours are of different ones."""
        return self.id % USERS & (shards - 1)

    def slot(self, slots: int, sharded: Iterable[str]) -> int:
        return self.shard(slots) if slots > 1 and set(self.channels) & set(sharded) else 0

    def record(self) -> Record:
        return Record(
            id=self.id, xid=self.xid, channels=" ".join(self.channels), priority=self.priority,
            attempt=self.attempt, origin="producer", envelope=str(self.id),
        )  # fmt: skip


def blocks_of(rows: Iterable[Row], slots: int, sharded: list[str]) -> Records:
    """As the statements' columns {blocks}, and the bytes that look adds."""
    blocks: dict[tuple[int, str, str, int, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.id):
        slot = row.slot(slots, sharded)
        kind = row.id // BLOCK, " ".join(row.channels), row.priority, row.attempt, slot
        blocks.setdefault(kind, []).append(row)
    return [
        Record(
            first=of_one[0].id, last=of_one[-1].id, channels=channels, priority=priority, attempt=attempt,
            slot=slot, rows=len(of_one), lines="".join(f"{row.id} {row.id}\n" for row in of_one).encode(),
            produced=len(of_one), bytes=sum(row.size for row in of_one),
        )
        for (_, channels, priority, attempt, slot), of_one in blocks.items()
    ]  # fmt: skip


NO_BLOCK = dict.fromkeys(
    ("first", "last", "channels", "priority", "attempt", "slot", "rows", "lines", "produced", "bytes")
)


@dataclass(slots=True)
class Transaction:
    """A producer's. It has an id from its first row on; savepoints remember how many rows there were."""

    xid: int | None = None
    rows: list[Row] = field(default_factory=list)
    savepoints: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TickRow:
    """A row of relay_ticks."""

    no: int
    ms: int
    snapshot: Snapshot
    tops: dict[str, str]
    behind: frozenset[str]
    solo: int | None
    rows: int
    bytes: int
    max_id: int
    floor: int
    placement: int | None
    shards: Mapping[str, int]  # of its placement

    def record(self) -> Record:
        return Record(
            no=self.no, ms=self.ms, snapshot=str(self.snapshot), tops=json.dumps(self.tops),
            behind=sorted(self.behind), solo=self.solo, rows=self.rows, bytes=self.bytes, floor=self.floor,
            placement=self.placement, shards=json.dumps(self.shards),
        )  # fmt: skip


class Postgres:
    """`now` is the monotonic clock the lease goes by, `clock_ms` the wall clock, which may jump."""

    def __init__(self, now: Callable[[], float], partition_rows: int) -> None:
        self.now = now
        self.clock_ms = 1_000
        self.next_xid = FIRST_XID
        self.ended = FIRST_XID - 1  # the highest transaction id that has ended
        self.running: set[int] = set()
        self.last_row_id = 0
        self.serial = 0
        self.log: list[Row] = []  # committed rows, as they lie in the table
        self.open: dict[int, Transaction] = {}  # by connection
        self.settled: set[tuple[int, str]] = set()  # (row, channel) with a delivery in a final state
        self.ticks: dict[int, TickRow] = {}
        self.ranges: list[tuple[int, int]] = [(0, partition_rows)]
        self.shards = dict.fromkeys(CHANNELS, 1)  # what channels want
        self.placements: dict[int, dict[str, int]] = {}
        self.placements_made = 0
        self.flag = 2
        self.lease: tuple[str, int, float] | None = None  # holder, epoch, until
        self.on_tick: Callable[[TickRow], None] = lambda _: None
        self.on_drop: Callable[[list[Row], Snapshot], None] = lambda *_: None

    # Producers

    def snapshot(self) -> Snapshot:
        """As pg_current_snapshot(): up to the last transaction that has ended, not up to the next to begin."""
        xmax = self.ended + 1
        return Snapshot(Xid(xmax), frozenset(Xid(x) for x in self.running if x < xmax))

    def begin(self, connection: int) -> Transaction:
        return self.open.setdefault(connection, Transaction())

    def take_xid(self, transaction: Transaction) -> int:
        if transaction.xid is None:
            transaction.xid, self.next_xid = self.next_xid, self.next_xid + 1
            self.running.add(transaction.xid)
        return transaction.xid

    def insert(self, connection: int, channels: list[str], priority: str, size: int, attempt: int) -> Row:
        transaction = self.begin(connection)
        self.last_row_id += 1
        self.serial += 1
        xid = self.take_xid(transaction)
        row = Row(self.last_row_id, xid, channels, priority, size, attempt, connection, self.serial)
        transaction.rows.append(row)
        return row

    def savepoint(self, connection: int) -> None:
        """A subtransaction has an id of its own, which rows do not bear."""
        transaction = self.begin(connection)
        self.take_xid(transaction)
        self.next_xid += 1
        transaction.savepoints.append(len(transaction.rows))

    def roll_back_to_savepoint(self, connection: int) -> None:
        transaction = self.open[connection]
        del transaction.rows[transaction.savepoints.pop() :]

    def end(self, connection: int, *, commit: bool) -> list[Row]:
        """The rows that are committed by it."""
        transaction = self.open.pop(connection)
        if transaction.xid is not None:
            self.running.discard(transaction.xid)
            self.ended = max(self.ended, transaction.xid)
        rows = transaction.rows if commit else []
        self.log += rows
        return rows

    # What statements have in common

    def of(self, xids: Callable[[int], bool]) -> list[Row]:
        return sorted((row for row in self.log if xids(row.xid)), key=lambda row: (row.xid, row.id))

    def between(self, from_xid: int, to_xid: int, xip: Iterable[int], snapshot: str) -> list[Row]:
        seen, single = Snapshot.parse(snapshot), set(xip)
        return self.of(lambda x: (from_xid <= x < to_xid or x in single) and seen.sees(Xid(x)))

    # The relay's statements: the log

    def look(  # noqa: PLR0917 - the statement's parameters
        self, slots: int, sharded: list[str], xmax: int, xip: list[int], rows: int, size: int, floor: int
    ) -> Records:
        single, total = set(xip), 0
        above = [row for row in self.of(lambda x: x >= xmax or x in single) if row.id > floor]
        found = [row for row in above if row.xid >= xmax][:rows] + [row for row in above if row.xid < xmax][
            :rows
        ]
        kept: list[Row] = []
        for row in sorted(found, key=lambda row: (row.xid, row.id))[:rows]:
            if total <= size:
                kept.append(row)
                total += row.size
        all_read = len(kept) < rows and total <= size
        oldest, newest = (kept[0].xid, kept[-1].xid) if kept else (None, None)
        blocks = blocks_of((row for row in kept if all_read or row.xid != newest), slots, sharded)
        edge = {
            "seen": str(self.snapshot()), "found": len(kept), "size": total, "oldest": oldest, "newest": newest
        }  # fmt: skip
        return [Record(**block.columns, **edge) for block in blocks] or [Record(**NO_BLOCK, **edge)]

    def tick_rows(  # noqa: PLR0917 - the statement's parameters
        self, slots: int, sharded: list[str], from_xid: int, to_xid: int, xip: list[int], snapshot: str,
        floor: int,
    ) -> Records:  # fmt: skip
        rows = self.between(from_xid, to_xid, xip, snapshot)
        return blocks_of((row for row in rows if row.id > floor), slots, sharded)

    def solo_rows(self, slots: int, sharded: list[str], xid: int, after_id: int, limit: int) -> Records:
        rows = [row for row in self.of(lambda x: x == xid) if row.id > after_id]
        return blocks_of(rows[:limit], slots, sharded)

    def solo_top(self, xid: int) -> Records:
        return [Record(max=max(row.id for row in self.of(lambda x: x == xid)))]

    def unsettled_rows(  # noqa: PLR0917 - the statement's parameters
        self, from_xid: int, to_xid: int, xip: list[int], snapshot: str,
        channel: str, priority: str, after_id: int, limit: int, shards: int, shard: int,
    ) -> Records:  # fmt: skip
        rows = [
            row
            for row in self.between(from_xid, to_xid, xip, snapshot)
            if channel in row.channels and row.priority == priority and row.id > after_id
            and (row.id, channel) not in self.settled and row.shard(shards) == shard
        ]  # fmt: skip
        return [row.record() for row in sorted(rows, key=lambda row: row.id)[:limit]]

    def backlog(self, xmax: int, xip: list[int], floor: int) -> Records:
        rows = self.of(lambda x: x >= xmax or x in xip)
        return [Record(count=sum(row.id > floor for row in rows))]

    # Ticks

    def in_order(self) -> list[TickRow]:
        return [self.ticks[no] for no in sorted(self.ticks)]

    def last_ticks(self) -> Records:
        return [tick.record() for tick in reversed(self.in_order()[-2:])]

    def insert_tick(  # noqa: PLR0917 - the statement's parameters
        self, no: int, after_ms: int, snapshot: str, tops: str, behind: list[str],
        solo: int | None, rows: int, size: int, max_id: int, floor: int, placement: int | None,
    ) -> Records:  # fmt: skip
        ms = max(after_ms + 1, self.clock_ms)
        if any(tick.no >= no or tick.ms == ms for tick in self.ticks.values()):
            return []
        if placement is not None and placement not in self.placements:
            raise asyncpg.ForeignKeyViolationError("placement")
        at, shards = Snapshot.parse(snapshot), self.placements[placement] if placement is not None else {}
        rest = solo, rows, size, max_id, floor, placement, shards
        tick = TickRow(no, ms, at, json.loads(tops), frozenset(behind), *rest)
        self.on_tick(tick)
        self.ticks[no] = tick
        self.take_one_xid()
        return [Record(ms=ms)]

    def look_and_tick(  # noqa: PLR0917 - the statement's parameters
        self, slots: int, sharded: list[str], no: int, after_ms: int, xmax: int, xip: list[int], tops: str,
        behind: list[str], floor: int, rows: int, size: int, placement: int | None,
    ) -> Records:  # fmt: skip
        single, seen = set(xip), self.snapshot()
        found = [row for row in self.of(lambda x: x >= xmax or x in single) if row.id > floor]
        total = sum(row.size for row in found)
        fits = 1 <= len(found) <= rows and total <= size and all(row.xid < seen.xmax for row in found)
        made = []
        if fits:
            max_id = max(row.id for row in found)
            made = self.insert_tick(
                no, after_ms, str(seen), tops, behind, None, len(found), total, max_id, floor, placement
            )
        ms = made[0]["ms"] if made else None
        edge = {"seen": str(seen), "found": len(found), "size": total, "fits": fits, "ms": ms}
        blocks = blocks_of(found, slots, sharded) if made else []
        return [Record(**block.columns, **edge) for block in blocks] or [Record(**NO_BLOCK, **edge)]

    def take_one_xid(self) -> int:
        """A transaction of one statement."""
        self.ended, self.next_xid = max(self.ended, self.next_xid), self.next_xid + 1
        return self.next_xid - 1

    def ticks_from(self, no: int, limit: int) -> Records:
        return [tick.record() for tick in self.in_order() if tick.no >= no - 1][:limit]

    # Shards (db/sql/shards.sql)

    def of_channels(self) -> Records:
        return [
            Record(channel=name, shards=wanted, readable=max([wanted, *self.placed(name)]))
            for name, wanted in self.shards.items()
        ]

    def placed(self, channel: str) -> list[int]:
        return [shards.get(channel, 1) for shards in self.placements.values()]

    def placement(self, shards: str) -> Records:
        wanted = json.loads(shards)
        self.take_one_xid()
        for number, known in self.placements.items():
            if known == wanted:
                return [Record(no=number)]
        self.placements_made += 1
        self.placements[self.placements_made] = wanted
        return [Record(no=self.placements_made)]

    def drop_placements(self, current: int | None) -> Records:
        used = {current, *(tick.placement for tick in self.ticks.values())}
        gone = self.placements.keys() - used
        for number in gone:
            del self.placements[number]
        return [Record(no=number) for number in gone]

    def tick_at(self, ms: int) -> Records:
        return [Record(no=tick.no, ms=tick.ms) for tick in self.in_order() if tick.ms <= ms][-1:]

    def edge_ticks(self) -> Records:
        ticks = self.in_order()
        return [Record(first=ticks[0].no if ticks else None, last_ms=ticks[-1].ms if ticks else None)]

    def delete_ticks(self, below_id: int) -> Records:
        kept = [tick.no for tick in self.in_order() if tick.max_id >= below_id]
        gone = [no for no in self.ticks if kept and no < kept[0] - 1 and no < max(self.ticks) - 1]
        for no in gone:
            del self.ticks[no]
        return [Record(no=no) for no in gone]

    # Flag, lease, schedule

    def next_due(self) -> Records:
        return [Record(seconds=None)]

    def set_flag(self, value: int) -> Records:
        self.flag = value
        self.take_one_xid()
        return [Record(setval=value)]

    def read_flag(self) -> Records:
        return [Record(flag=self.flag)]

    def new_xid(self) -> Records:
        return [Record(xid=self.take_one_xid())]

    def xmax_now(self) -> Records:
        return [Record(xmax=self.snapshot().xmax)]

    def passed_over(self) -> Records:
        top = max((tick.max_id for tick in self.ticks.values()), default=0)
        last = self.in_order()[-1:]
        rows = [row for row in self.log for tick in last if row.id > top and tick.snapshot.sees(Xid(row.xid))]
        return [Record(passed_over=bool(rows))]

    def take_lease(self, holder: str, seconds: float) -> Records:
        was, epoch, until = self.lease or (holder, 1, 0.0)
        if was != holder and until >= self.now():
            return []
        self.lease = holder, epoch + (was != holder), self.now() + seconds
        self.take_one_xid()
        return [Record(epoch=self.lease[1])]

    def release_lease(self, holder: str) -> Records:
        if self.lease and self.lease[0] == holder:
            self.lease = holder, self.lease[1], 0.0
        return []

    # Partitions

    def partitions(self) -> Records:
        return [Record(name=str(start), from_id=start, to_id=end) for start, end in sorted(self.ranges)]

    def last_id(self) -> Records:
        return [Record(id=self.last_row_id)]

    def newest_row_at(self, from_id: int, to_id: int) -> Records:
        return [Record(at=OLD) for row in self.log if from_id <= row.id < to_id][:1]

    def add_partition(self, from_id: int, to_id: int) -> Records:
        """Refused where it overlaps another, or where the default partition holds rows of its range."""
        if any(from_id < end and start < to_id for start, end in self.ranges):
            raise asyncpg.PostgresError("would overlap")
        if any(from_id <= row.id < to_id for row in self.all_rows()):
            raise asyncpg.PostgresError("the default partition holds rows of this range")
        self.ranges.append((from_id, to_id))
        return [Record(name=str(from_id))]

    def all_rows(self) -> list[Row]:
        """Those of open transactions, too: they hold locks."""
        return [*self.log, *(row for each in self.open.values() for row in each.rows)]

    def drop_partition(self, name: str, ticked: str) -> Records:
        start, end = next((each for each in self.ranges if str(each[0]) == name), (0, 0))
        if not end:
            raise asyncpg.UndefinedTableError(name)
        if any(start <= row.id < end for each in self.open.values() for row in each.rows):
            raise asyncpg.LockNotAvailableError
        seen = Snapshot.parse(ticked)
        rows = [row for row in self.log if start <= row.id < end]
        if any(not seen.sees(Xid(row.xid)) for row in rows):
            return [Record(gone=False)]
        self.drop(rows, seen)
        self.ranges.remove((start, end))
        return [Record(gone=True)]

    def prune_default(self, before: datetime, below_id: int, ticked: str) -> Records:
        seen = Snapshot.parse(ticked)
        rows = [
            row
            for row in self.log
            if not any(start <= row.id < end for start, end in self.ranges)
            and before > OLD and row.id < below_id and seen.sees(Xid(row.xid))
        ]  # fmt: skip
        self.drop(rows, seen)
        return [Record(id=row.id) for row in rows]

    def drop(self, rows: list[Row], ticked: Snapshot) -> None:
        self.on_drop(rows, ticked)
        gone = set(map(id, rows))
        self.log = [row for row in self.log if id(row) not in gone]
