"""The log begun anew in another cluster (db/sql/rebase.sql). By the schema's owner."""

import re
from dataclasses import dataclass

from db.pool import Connection, Executor
from db.statements import load

SQL = load("rebase")
OPEN = re.sub(r"^--.*\n", "", SQL.pop("open"), flags=re.MULTILINE)
SQL = {name: statement.replace("{open}", OPEN) for name, statement in SQL.items()}


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
    unticked: bool

    @property
    def foreign(self) -> str | None:
        """Why the log cannot have been written here."""
        if self.tick_xmax is not None and self.xmax < self.tick_xmax:
            return (
                f"the last tick reaches to transaction {self.tick_xmax}, and this cluster is at {self.xmax}"
            )
        if self.top_xid is not None and self.top_xid >= self.xmax:
            return f"the log holds a row of transaction {self.top_xid}, and this cluster is at {self.xmax}"
        if self.unticked:
            return "the log holds committed rows that its last tick passed over"
        return None

    @property
    def sequence_lags(self) -> bool:
        """A copy by logical replication brings rows and no sequences."""
        return self.drawn < self.top_id


@dataclass(frozen=True, slots=True)
class Census:
    rows: int
    open: int


async def history(conn: Executor) -> History:
    record = await conn.fetchrow(SQL["history"])
    assert record is not None
    return History(**record)


async def census(conn: Executor, from_id: int, to_id: int) -> Census:
    record = await conn.fetchrow(SQL["census"], from_id, to_id)
    assert record is not None
    return Census(**record)


async def default_census(conn: Executor) -> Census:
    record = await conn.fetchrow(SQL["default_census"])
    assert record is not None
    return Census(**record)


async def raise_sequence(conn: Executor, to: int) -> None:
    await conn.execute(SQL["raise_sequence"].replace("$1", str(int(to))))


async def begin_anew(conn: Connection, last_no: int, last_ms: int) -> tuple[int, int] | None:
    """The log's open rows as new ones, and one tick that holds nothing, in one transaction. How many rows are open,
    and how many were settled; None where a relay leads. Raises SerializationError where one took the lead meanwhile."""
    async with conn.transaction(isolation="repeatable_read"):
        snapshot = await conn.fetchval(SQL["snapshot"])
        if await conn.fetchval(SQL["take_lead"]) is None:
            return None
        opened = await changed(conn, "renew_open")
        settled = await changed(conn, "delete_settled")
        await conn.execute(SQL["delete_ticks"])
        await conn.execute(SQL["first_tick"], last_no + 1, last_ms + 1, snapshot)
    return opened, settled


async def changed(conn: Connection, name: str) -> int:
    return int((await conn.execute(SQL[name], timeout=3600)).split()[-1])
