"""Gives the embedded PostgreSQL its roles and its database, so that nothing runs as superuser.

Safe to repeat, and repeated at every start: a first start may have been cut short anywhere.
"""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg

from outbox.local.errors import EmbeddedError
from outbox.local.ports import LOOPBACK
from outbox.local.postgres_server import SUPERUSER

ROLES = Path(__file__).with_name("roles.sql")
DATABASE = "outbox"
MIGRATOR = "outbox_migrator"  # owns the database
SERVICE = "outbox_service"  # a member of outbox_app
PRODUCER = "outbox_demo_producer"  # a member of outbox_producer
LOGINS = (MIGRATOR, SERVICE, PRODUCER)


def set_up_roles(port: int, passwords: dict[str, str]) -> None:
    """In a thread of its own, so that the caller may be in an event loop already."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(lambda: asyncio.run(_set_up_roles(port, passwords))).result()


async def _set_up_roles(port: int, passwords: dict[str, str]) -> None:
    try:
        connection = await asyncpg.connect(
            host=LOOPBACK,
            port=port,
            user=SUPERUSER,
            password=passwords[SUPERUSER],
            database=SUPERUSER,
            ssl=False,
            timeout=30,
        )
        try:
            await _make(connection, {name: passwords[name] for name in LOGINS})
        finally:
            await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise EmbeddedError(f"PostgreSQL runs, but its roles could not be made: {error}") from error


async def _make(connection: asyncpg.Connection, logins: dict[str, str]) -> None:
    await connection.execute("SELECT set_config('outbox.logins', $1, false)", json.dumps(logins))
    await connection.execute(ROLES.read_text())
    if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
        await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {MIGRATOR}")
