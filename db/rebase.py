"""The log begun anew in another cluster (db/sql/rebase.sql). By the schema's owner."""

import re
from dataclasses import dataclass

from db import relay
from db.pool import Connection, Executor
from db.statements import load

SQL = load("rebase")
OPEN = re.sub(r"^--.*\n", "", SQL.pop("open"), flags=re.MULTILINE)
SQL = {name: statement.replace("{open}", OPEN) for name, statement in SQL.items()}


PARTITION = re.compile(r"outbox_p[0-9]{19}")
LONG_SECONDS = 3600.0  # a big log is read whole


@dataclass(frozen=True, slots=True)
class History:
    """What tells whose transaction ids the log and its ticks hold. `xmax` is this cluster's next one."""

    xmax: int
    tick: int | None
    tick_ms: int | None
    tick_xmax: int | None
    top_xid: int | None
    drawn: int
    top_id: int
    passed_over: bool

    @property
    def foreign(self) -> str | None:
        """Why the log cannot have been written here."""
        if self.tick_xmax is not None and self.xmax < self.tick_xmax:
            return (
                f"the last tick reaches to transaction {self.tick_xmax}, and this cluster is at {self.xmax}"
            )
        if self.top_xid is not None and self.top_xid >= self.xmax:
            return f"the log holds a row of transaction {self.top_xid}, and this cluster is at {self.xmax}"
        if self.drawn < self.top_id:  # a copy by logical replication brings rows and no sequences
            return f"ids are given out from {self.drawn}, and the log goes to {self.top_id}"
        if self.passed_over:
            return "the log holds committed rows that its last tick passed over"
        return None


@dataclass(frozen=True, slots=True)
class Census:
    rows: int
    open: int


async def history(conn: Executor) -> History:
    record = await conn.fetchrow(SQL["history"])
    assert record is not None
    return History(**record, passed_over=await relay.passed_over(conn))


async def census(conn: Executor, from_id: int, to_id: int) -> Census:
    """Of one partition: the rows with from_id ≤ id < to_id."""
    record = await conn.fetchrow(SQL["census"], from_id, to_id, timeout=LONG_SECONDS)
    assert record is not None
    return Census(**record)


async def default_census(conn: Executor) -> Census:
    record = await conn.fetchrow(SQL["default_census"], timeout=LONG_SECONDS)
    assert record is not None
    return Census(**record)


async def drop_if_settled(conn: Connection, name: str, from_id: int, to_id: int) -> bool:
    """Whether the partition went: not where one of its rows is open. Raises LockNotAvailableError where somebody holds
    it."""
    if not PARTITION.fullmatch(name):
        raise ValueError(f"{name!r} is no partition of notify.outbox")
    async with conn.transaction():
        await conn.execute("SET LOCAL lock_timeout = '1s'")
        await conn.execute(SQL["lock_partition"].replace("{partition}", name))
        if (await census(conn, from_id, to_id)).open:
            return False
        await conn.execute(SQL["drop_partition"].replace("{partition}", name))
    return True


async def begin_anew(conn: Connection, known: History) -> tuple[int, int] | None:
    """The log's open rows as new ones, and one tick that holds nothing, in one transaction; then the sequence, which
    knows no transactions. How many rows are open, and how many were settled; None where a relay leads. Raises
    SerializationError where one took the lead meanwhile."""
    top_id = max(known.drawn, known.top_id)
    async with conn.transaction(isolation="repeatable_read"):
        snapshot = await conn.fetchval(SQL["snapshot"])
        if await conn.fetchval(SQL["take_lead"]) is None:
            return None
        opened = await changed(conn, "renew_open")
        settled = await changed(conn, "delete_settled")
        await conn.execute(SQL["renumber"], top_id)
        await conn.execute(SQL["delete_ticks"])
        place = (known.tick or 0) + 1, (known.tick_ms or 0) + 1
        max_id: int = await conn.fetchval(SQL["first_tick"], *place, snapshot, top_id)
    await raise_sequence(conn, max_id)
    return opened, settled


async def raise_identities(conn: Connection) -> None:
    """A copy by logical replication brings no sequence: each numbers on above what it finds. Safe to repeat."""
    for row in await conn.fetch(SQL["identities"]):
        statement = SQL["raise_identity"].replace("{sequence}", row["sequence"])
        statement = statement.replace("{column}", row["column_name"]).replace("{table}", row["table_name"])
        await conn.execute(statement, timeout=LONG_SECONDS)


async def raise_sequence(conn: Connection, to: int) -> None:
    await conn.execute(SQL["raise_sequence"].replace("$1", str(int(to))))


async def changed(conn: Connection, name: str) -> int:
    return int((await conn.execute(SQL[name], timeout=LONG_SECONDS)).split()[-1])
