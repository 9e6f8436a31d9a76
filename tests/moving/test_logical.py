"""Moved by logical replication, as docs/day-two.md says, while producers write until the change-over."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from db import migrations
from db import rebase as sql
from db.pool import Connection
from outbox.settings import PROJECT
from tests.moving.conftest import Move, audit, connected, eventually, ids, produce, running, tool
from tests.moving.test_dump import rebase

MANUAL = (PROJECT / "docs" / "day-two.md").read_text(encoding="utf-8")
COPYING = "SELECT srrelid FROM pg_subscription_rel WHERE srsubstate <> 'r'"
NOTED = """
INSERT INTO notify.audit_log (actor, via, action, target) VALUES ('ada', 'command', 'channel.change', 'email')
"""
BEHIND = """
SELECT 1 FROM pg_replication_slots WHERE slot_name = 'outbox_move' AND confirmed_flush_lsn < $1::text::pg_lsn
"""


def statements() -> list[str]:
    part = MANUAL.partition("### By logical replication")[2].partition("###")[0]
    return re.findall(r"^```sql\n(.*?)^```", part, re.MULTILINE | re.DOTALL)


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[set[UUID]]:
    """A producer, until the block ends; what it has committed."""
    committed: set[UUID] = set()

    async def go() -> None:
        async with connected(url) as conn:
            while not done.is_set():
                committed.update(await produce(conn, 5))

    done = asyncio.Event()
    task = asyncio.create_task(go())
    try:
        yield committed
    finally:
        done.set()
        await task


async def replicated(move: Move, folder: Path, new: Connection) -> None:
    """All copied, and the rest following."""
    schema = str(folder / "schema")
    await asyncio.to_thread(tool, "pg_dump", "--schema-only", "-Fc", "-n", "notify", "-f", schema, move.old)
    await asyncio.to_thread(tool, "pg_restore", "--no-owner", "-d", move.new, schema)
    publish, subscribe = statements()
    async with connected(move.old) as old:
        await old.execute(publish)
    await new.execute(subscribe.replace("{old}", move.old))
    await eventually(new, lambda rows: not rows, COPYING)


async def caught_up(old: Connection) -> None:
    lsn = await old.fetchval("SELECT pg_current_wal_insert_lsn()::text")
    async with asyncio.timeout(60):
        while await old.fetchval(BEHIND, lsn):  # noqa: ASYNC110 - Postgres is asked: there is no event to wait on
            await asyncio.sleep(0.02)


async def test_nothing_is_lost_and_nothing_comes_twice(move: Move, tmp_path: Path, redis: Any) -> None:
    await asyncio.to_thread(migrations.upgrade, move.old)
    async with connected(move.new) as new, connected(move.old) as old:
        async with running(move.at(move.old)), writing(move.old) as committed:
            await eventually(old, lambda found: len(found) > 20)
            await replicated(move, tmp_path, new)
            enough = len(committed) + 20
            await eventually(old, lambda found: len(found) > enough)
        committed |= await produce(old, 15)  # which no relay has seen
        await caught_up(old)
        await new.execute("DROP SUBSCRIPTION outbox_move")
        delivered = len(await ids(old, "SELECT notification_id FROM notify.inbox"))
        assert 0 < delivered < len(committed)
        assert (await sql.history(new)).drawn == 0  # no sequence came along
        settings = move.at(move.new)
        await rebase(settings)
        async with running(settings):
            async with writing(move.new) as after:
                await eventually(new, lambda found: set(found) >= committed and len(after) > 20)
            await eventually(new, lambda found: set(found) >= committed | after)
        await audit(new, committed | after)


async def test_rows_that_came_before_the_rebase_under_ids_given_out_twice_get_new_ones(
    move: Move, tmp_path: Path, redis: Any
) -> None:
    """Producers that were let in too early."""
    await asyncio.to_thread(migrations.upgrade, move.old)
    async with connected(move.new) as new, connected(move.old) as old:
        committed = await produce(old, 30)
        await old.execute(NOTED)
        await replicated(move, tmp_path, new)
        await new.execute("DROP SUBSCRIPTION outbox_move")
        committed |= await produce(new, 10)
        twice = "SELECT id FROM notify.outbox GROUP BY id HAVING count(*) > 1"
        assert len(await ids(new, twice)) == 10
        settings = move.at(move.new)
        await rebase(settings)
        assert await ids(new, twice) == []
        await new.execute(NOTED)  # which numbers its rows by itself, too
        async with running(settings):
            committed |= await produce(new, 10)
            await eventually(new, lambda found: set(found) >= committed)
        await audit(new, committed)
