"""All that is kept of one person, as one JSON document, written as it is read: nobody's history is too long for it.

A connection is held for a page, never while somebody is written to, so each page is of the moment when it was read.
"""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from db import export
from db.export import Acted, Told
from db.pool import Pool

NOTIFICATIONS = 100
ACTED = 1_000


async def document(pool: Pool, user_id: str) -> AsyncIterator[str]:
    """In parts; together they are a JSON object."""
    async with pool.acquire() as conn:
        person = await export.person(conn, user_id)
    head = {"user_id": user_id, "exported_at": datetime.now(UTC).isoformat()}
    yield json.dumps(head, ensure_ascii=False)[:-1] + ", " + person[1:-1]
    yield ', "notifications": ['
    async for part in notifications(pool, user_id):
        yield part
    yield '], "acted_in": ['
    async for part in acted(pool, user_id):
        yield part
    yield "]}\n"


async def notifications(pool: Pool, user_id: str) -> AsyncIterator[str]:
    after: Told | None = None
    while True:
        async with pool.acquire() as conn:
            page = await export.notifications(conn, user_id, after, NOTIFICATIONS)
        if not page:
            return
        yield (", " if after else "") + ", ".join(told.document for told in page)
        after = page[-1]


async def acted(pool: Pool, user_id: str) -> AsyncIterator[str]:
    after: Acted | None = None
    while True:
        async with pool.acquire() as conn:
            page = await export.acted(conn, user_id, after, ACTED)
        if not page:
            return
        yield (", " if after else "") + ", ".join(one.document for one in page)
        after = page[-1]
