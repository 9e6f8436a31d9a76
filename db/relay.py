"""The relay's statements (db/sql/relay.sql)."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from asyncpg import Record

from db.pool import Executor
from db.statements import load

SQL = load("relay")
for part in (
    "row",
    "line",
    "blocks",
    "by_block",
    "envelope",
    "tick",
):  # of statements, put where they say {row} and so on
    text = re.sub(r"^--.*\n", "", SQL.pop(part), flags=re.MULTILINE)
    SQL = {name: statement.replace(f"{{{part}}}", text) for name, statement in SQL.items()}


class Slots(NamedTuple):
    """By how many slots the rows of these channels are told apart, so that each shard gets its own. Of none: one."""

    number: int = 1
    channels: Sequence[str] = ()


class Share(NamedTuple):
    """What one stream gets: a lane's, of users who are in this shard of so many."""

    channel: str
    priority: str
    shards: int = 1
    shard: int = 0


WHOLE = Slots()
# Transactions to look through: a range, and single ones; and the snapshot that must see them.
Span = tuple[int, int, Iterable[int], str]


@dataclass(frozen=True, slots=True)
class TickHead:
    """What a tick to be has, whatever rows it holds."""

    no: int
    after_ms: int
    tops: dict[str, str]
    behind: list[str]
    floor: int
    placement: int | None = None


@dataclass(frozen=True, slots=True)
class NewTick:
    """A row of relay_ticks to be. `solo` is None but for a tick of one big transaction."""

    head: TickHead
    snapshot: str
    solo: int | None
    rows: int
    bytes: int
    max_id: int


async def last_ticks(conn: Executor) -> list[Record]:
    return await conn.fetch(SQL["last_ticks"])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a look asks for: what a snapshot does not see, above `floor`; at most so many rows, and not much over so
    many bytes of entries."""

    xmax: int
    xip: Iterable[int]
    rows: int
    size: int
    floor: int


async def look(conn: Executor, wanted: Wanted, slots: Slots = WHOLE) -> list[Record]:
    """The snapshot and what it sees, in blocks. Never empty: one record of nulls where there is no block."""
    return await conn.fetch(
        SQL["look"], *slots, wanted.xmax, list(wanted.xip), wanted.rows, wanted.size, wanted.floor
    )


async def insert_tick(conn: Executor, tick: NewTick) -> int | None:
    """The tick's ms, or None where another relay made this tick."""
    head, tops = tick.head, json.dumps(tick.head.tops)
    ms: int | None = await conn.fetchval(
        SQL["insert_tick"], head.no, head.after_ms, tick.snapshot, tops, head.behind,
        tick.solo, tick.rows, tick.bytes, tick.max_id, head.floor, head.placement,
    )  # fmt: skip
    return ms


async def look_and_tick(conn: Executor, head: TickHead, wanted: Wanted, slots: Slots = WHOLE) -> list[Record]:
    """Where there are rows above the floor, and no more than so many with so many bytes of payload: the rows, and in
    each record the tick made of them. Else one record without a tick."""
    return await conn.fetch(
        SQL["look_and_tick"], *slots, head.no, head.after_ms, wanted.xmax, list(wanted.xip), json.dumps(head.tops),
        head.behind, head.floor, wanted.rows, wanted.size, head.placement,
    )  # fmt: skip


async def tick_rows(conn: Executor, span: Span, floor: int, slots: Slots = WHOLE) -> list[Record]:
    from_xid, to_xid, xip, snapshot = span
    return await conn.fetch(SQL["tick_rows"], *slots, from_xid, to_xid, list(xip), snapshot, floor)


async def solo_rows(
    conn: Executor, xid: int, after_id: int, limit: int, slots: Slots = WHOLE
) -> list[Record]:
    return await conn.fetch(SQL["solo_rows"], *slots, xid, after_id, limit)


async def solo_top(conn: Executor, xid: int) -> int:
    top: int = await conn.fetchval(SQL["solo_top"], xid)
    return top


async def unsettled_rows(conn: Executor, span: Span, share: Share, after_id: int, limit: int) -> list[Record]:
    from_xid, to_xid, xip, snapshot = span
    return await conn.fetch(
        SQL["unsettled_rows"], from_xid, to_xid, list(xip), snapshot, share.channel, share.priority,
        after_id, limit, share.shards, share.shard,
    )  # fmt: skip


async def ticks_from(conn: Executor, no: int, limit: int) -> list[Record]:
    return await conn.fetch(SQL["ticks_from"], no, limit)


async def tick_at(conn: Executor, ms: int) -> Record | None:
    return await conn.fetchrow(SQL["tick_at"], ms)


async def edge_ticks(conn: Executor) -> tuple[int | None, int | None]:
    """Number of the oldest tick kept, ms of the newest."""
    record = await conn.fetchrow(SQL["edge_ticks"])
    assert record is not None
    return record["first"], record["last_ms"]


async def promote_due(conn: Executor, limit: int) -> int:
    """How many scheduled rows went into the outbox."""
    return int((await conn.execute(SQL["promote_due"], limit)).split()[-1])


async def next_due(conn: Executor) -> float | None:
    """Seconds until something is due (negative: overdue); None when nothing is scheduled."""
    seconds: float | None = await conn.fetchval(SQL["next_due"])
    return seconds


async def set_flag(conn: Executor, value: int) -> None:
    await conn.execute(SQL["set_flag"].replace("$1", str(int(value))))


async def new_xid(conn: Executor) -> int:
    xid: int = await conn.fetchval(SQL["new_xid"])
    return xid


async def xmax_now(conn: Executor) -> int:
    xmax: int = await conn.fetchval(SQL["xmax_now"])
    return xmax


async def passed_over(conn: Executor) -> bool:
    """Whether the log holds rows that its ticks should, and do not: they were written in another cluster, or not
    there."""
    answer: bool = await conn.fetchval(SQL["passed_over"])
    return answer


async def read_flag(conn: Executor) -> int | None:
    value: int | None = await conn.fetchval(SQL["read_flag"])
    return value


async def take_lease(conn: Executor, holder: str, seconds: float) -> int | None:
    """The lease's epoch, or None while another relay holds it."""
    epoch: int | None = await conn.fetchval(SQL["take_lease"], holder, seconds)
    return epoch


async def release_lease(conn: Executor, holder: str) -> None:
    await conn.execute(SQL["release_lease"], holder)


async def partitions(conn: Executor) -> list[Record]:
    return await conn.fetch(SQL["partitions"])


async def last_id(conn: Executor) -> int:
    """The last outbox id given out; 0 before the first."""
    value: int = await conn.fetchval(SQL["last_id"])
    return value


async def newest_row_at(conn: Executor, from_id: int, to_id: int) -> datetime | None:
    at: datetime | None = await conn.fetchval(SQL["newest_row_at"], from_id, to_id)
    return at


async def add_partition(conn: Executor, from_id: int, to_id: int) -> str:
    name: str = await conn.fetchval(SQL["add_partition"], from_id, to_id)
    return name


async def drop_partition(conn: Executor, name: str, ticked: str) -> bool:
    """Whether it went. `ticked` is the snapshot of a tick that is whole in Redis."""
    gone: bool = await conn.fetchval(SQL["drop_partition"], name, ticked)
    return gone


async def prune_default(conn: Executor, before: datetime, below_id: int, ticked: str) -> int:
    return int((await conn.execute(SQL["prune_default"], before, below_id, ticked)).split()[-1])


async def delete_ticks(conn: Executor, below_id: int) -> int:
    """How many ticks went: those with no row from `below_id` on."""
    return int((await conn.execute(SQL["delete_ticks"], below_id)).split()[-1])


async def backlog(conn: Executor, xmax: int, xip: Iterable[int], floor: int) -> int:
    """Rows that no tick holds yet; 10,000 stands for that many or more."""
    count: int = await conn.fetchval(SQL["backlog"], xmax, list(xip), floor)
    return count
