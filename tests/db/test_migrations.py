"""The migrations: from empty, twice, two at once, and the same schema by the SQL that they print."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

from db import migrations
from tests import servers

# Everything of schema notify that the catalog knows, as text: kind, name, definition.
CATALOG = """
SELECT 'column' AS kind, attrelid::regclass || '.' || attname AS name,
       concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attacl, pg_get_expr(adbin, adrelid)) AS definition
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
 WHERE relnamespace = 'notify'::regnamespace AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'relation', oid::regclass::text,
       concat_ws(' ', relkind, relacl, reloptions, pg_get_expr(relpartbound, oid))
  FROM pg_class WHERE relnamespace = 'notify'::regnamespace
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'notify'
UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'notify'::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(t.oid)
  FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'notify'::regnamespace AND NOT tgisinternal
UNION ALL SELECT 'function', oid::regprocedure::text, pg_get_functiondef(oid) || coalesce(proacl::text, '')
  FROM pg_proc WHERE pronamespace = 'notify'::regnamespace
UNION ALL SELECT 'channel', name, concat_ws(' ', kind, config, enabled) FROM notify.channels
UNION ALL SELECT 'template', name || channel, concat_ws(' ', subject, body_text, body_html) FROM notify.templates
UNION ALL SELECT 'version', version_num, '' FROM notify.alembic_version
ORDER BY 1, 2
"""


@pytest.fixture
async def empty() -> AsyncIterator[list[str]]:
    """URLs of two databases with nothing in them."""
    admin = os.environ[servers.ADMIN_URL]
    connection = await asyncpg.connect(admin)
    names = [f"test_{uuid4().hex[:16]}" for _ in range(2)]
    for name in names:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield [servers.in_database(admin, name) for name in names]
    finally:
        for name in names:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


async def catalog(url: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(CATALOG)]
    finally:
        await connection.close()


def printed() -> str:
    """What `alembic upgrade head --sql` prints."""
    config = migrations.config()
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


async def test_from_empty_and_again(empty: list[str]) -> None:
    url = empty[0]
    await asyncio.to_thread(migrations.upgrade, url)
    first = await catalog(url)
    await asyncio.to_thread(migrations.upgrade, url)
    assert await catalog(url) == first
    kinds = {kind for kind, *_ in first}
    assert kinds >= {"column", "relation", "index", "constraint", "trigger", "function", "channel", "version"}


async def test_two_that_start_at_once_do_it_once(empty: list[str]) -> None:
    url = empty[0]
    await asyncio.gather(*(asyncio.to_thread(migrate_in_process, url) for _ in range(3)))
    assert [row for row in await catalog(url) if row[0] == "version"] == [("version", head(), "")]


def migrate_in_process(url: str) -> None:
    """In a process of its own, as services start: Alembic's context is one per process."""
    code = "import sys; from db import migrations; migrations.upgrade(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, url], check=True, capture_output=True)


def head() -> str:
    script = ScriptDirectory.from_config(migrations.config())
    assert len(script.get_heads()) == 1
    return script.get_heads()[0]


async def test_the_printed_sql_makes_the_same_schema(empty: list[str]) -> None:
    online, by_hand = empty
    await asyncio.to_thread(migrations.upgrade, online)
    script = await asyncio.to_thread(printed)
    connection = await asyncpg.connect(by_hand)
    await connection.execute(script)  # the simple protocol, as psql sends a file
    await connection.close()
    assert await catalog(by_hand) == await catalog(online)


async def test_the_printed_sql_is_one_transaction() -> None:
    script = await asyncio.to_thread(printed)
    statements = [line.strip() for line in script.splitlines() if line.strip()]
    assert (statements[0], statements[-1]) == ("BEGIN;", "COMMIT;")
