"""`outbox migrate`: wait for Postgres, apply what is missing, say what was done."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg

from db import demo, migrations, status
from db.dsn import place
from db.pool import Connection, connect
from outbox.cli.reach import PASSING, UnreachableError, plainly
from outbox.log import get

log = get("migrate")
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.5
LOCK_PAUSES_SECONDS = (1, 2, 4, 8, 15, 30)  # in which producers catch up


def bring_up_to_date(url: str, *, with_demo: bool, doubled: Sequence[str] = ()) -> None:
    """`doubled`: the channels that the demo points at the doubles, unless a person has configured them.

    Raises UnreachableError, or asyncpg's error where a statement fails.
    """
    before = asyncio.run(revision(url))
    log.info("migrate.started", database=place(url), revision=before or "none")
    began = time.monotonic()
    upgraded(url)
    after = asyncio.run(settle(url, with_demo=with_demo, doubled=doubled))
    event = "migrate.unchanged" if after == before else "migrate.upgraded"
    log.info(event, revision=after, seconds=round(time.monotonic() - began, 2))


def upgraded(url: str) -> None:
    """All or nothing, and again where somebody held a table for longer than producers should wait behind it. Raises
    LockNotAvailableError when that was in vain every time."""
    for pause in (*LOCK_PAUSES_SECONDS, None):
        try:
            migrations.upgrade(url)
        except asyncpg.LockNotAvailableError as error:
            if pause is None:
                raise
            log.warning("migrate.table_is_held", reason=plainly(error), next_try_in_seconds=pause)
            time.sleep(pause)
        else:
            return


async def revision(url: str) -> str | None:
    connection = await patiently(url)
    try:
        return await status.revision(connection)
    finally:
        await connection.close()


async def settle(url: str, *, with_demo: bool, doubled: Sequence[str]) -> str | None:
    connection = await patiently(url)
    try:
        if with_demo:
            async with connection.transaction():
                await demo.add(connection, doubled)
        return await status.revision(connection)
    finally:
        await connection.close()


async def patiently(url: str) -> Connection:
    """A connection, within 30 seconds if the server is only starting."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    told = False
    while True:
        try:
            return await connect(url, name="migrate")
        except PASSING as error:
            if time.monotonic() > deadline:
                raise unreachable(url, f"{plainly(error)}, for {PATIENCE_SECONDS:.0f} s now") from None
            if not told:
                log.info("migrate.waiting", database=place(url), reason=plainly(error))
                told = True
            await asyncio.sleep(RETRY_SECONDS)
        except asyncpg.PostgresError as error:
            raise unreachable(url, plainly(error)) from None


def unreachable(url: str, why: str) -> UnreachableError:
    return UnreachableError(
        f"PostgreSQL at {place(url)} cannot be used: {why}. Is it running, and is "
        "OUTBOX_MIGRATE_DATABASE_URL (or DATABASE_URL) right?"
    )
