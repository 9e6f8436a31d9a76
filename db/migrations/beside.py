"""Indexes on big tables, built after the migration and beside the producers, who go on writing (beside.sql).

Until one is there its statements are slow, and everything else is as always. Safe to repeat, and to run twice at once:
whoever comes second leaves it to the first.
"""

from pathlib import Path

import asyncpg

from db.pool import Connection
from db.statements import parse

INDEXES = parse(Path(__file__).with_suffix(".sql"))
# Not the migration's own lock: whoever waits for that one has a transaction open, and the build waits for all of those.
TURN = "SELECT pg_try_advisory_lock(1869967473)"
VALID = """
SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relname = $1 AND c.relnamespace = 'notify'::regnamespace
"""


async def build(url: str) -> list[str]:
    """Build what is missing, which takes minutes on a big table. Gives the names of what was built."""
    connection: Connection = await asyncpg.connect(url)
    try:
        if not await connection.fetchval(TURN):
            return []
        return [name for name in INDEXES if await built(connection, name)]
    finally:
        await connection.close()


async def built(connection: Connection, name: str) -> bool:
    """One that was left half built, by a process that was stopped, is begun anew."""
    valid = await connection.fetchval(VALID, name)
    if valid:
        return False
    if valid is not None:
        await connection.execute(f"DROP INDEX CONCURRENTLY notify.{name}")
    await connection.execute(INDEXES[name])
    return True
