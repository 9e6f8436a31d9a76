"""A purge beside all others who write: nobody ends in a deadlock, nothing is half gone, the counts are exact."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import asyncpg
import pytest

from db import delivery, inbox_changes, retention
from db.inbox_changes import Listed, Mark
from db.pool import Connection
from db.retention import BEGINNING
from tests.conftest import Database
from tests.db.old import DAYS, KEEP, NOW, left
from tests.db.test_delivery import PLAIN, notify

USERS = [f"u{number}" for number in range(4)]
ORPHANS = """
SELECT format('SELECT %L, count(*) FROM notify.%I x WHERE NOT EXISTS'
              ' (SELECT FROM notify.notifications n WHERE n.id = x.notification_id)', c.relname, c.relname)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'notification_id'
WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
  AND c.relname NOT LIKE 'outbox%' AND c.relname <> 'endpoint_turns'
"""
AGE_SOME = """
UPDATE notify.deliveries SET settled_at = $1
WHERE (notification_id, channel) IN (
  SELECT notification_id, channel FROM notify.deliveries WHERE settled_at > $1 LIMIT 10 FOR UPDATE SKIP LOCKED)
"""
WRONG = """
SELECT user_id FROM notify.inbox_counters c
WHERE unread <> (SELECT count(*) FROM notify.inbox i
                 WHERE i.user_id = c.user_id AND read_at IS NULL AND archived_at IS NULL)
"""


@dataclass(slots=True)
class Crowd:
    """Many old notifications, and what is done with them at once, over and over."""

    users: dict[UUID, str]
    chance: random.Random
    purged: int = 0

    def some(self, number: int = 15) -> list[UUID]:
        return self.chance.sample(list(self.users), number)

    async def work(self, conn: Connection) -> None:
        """A worker: claims what may come twice, or be gone by now, and settles what it got."""
        who, chosen = replace(PLAIN, token=uuid4()), self.some()
        try:
            claims = await delivery.claim(conn, who, chosen, [0] * len(chosen))
        except asyncpg.ForeignKeyViolationError:  # purged while this claim waited; its entries come again
            return
        ids = [each.notification_id for each in claims if each.attempts]
        done = [delivery.Settlement(one, who.token, delivery.Status.DELIVERED, "delivered", 1) for one in ids]
        await delivery.settle_in_inbox(conn, "inapp", [(each, self.users[each.key[0]]) for each in done])

    async def purge(self, conn: Connection) -> None:
        async with conn.transaction():
            found = await retention.purge(conn, KEEP, BEGINNING, 40)
        self.purged += found.rows["notifications"]

    async def read(self, conn: Connection) -> None:
        user, mark = self.chance.choice(USERS), self.chance.choice(list(Mark))
        async with conn.transaction():
            await inbox_changes.apply(conn, user, Listed(mark, self.chance.sample(range(1, 60), 10)))

    async def cancel(self, conn: Connection) -> None:
        await conn.execute("SELECT notify.cancel($1)", self.some(1)[0])

    async def age(self, conn: Connection) -> None:
        await conn.execute(AGE_SOME, NOW - 40 * DAYS)


async def again(
    conn: Connection, act: Callable[[Connection], Awaitable[None]], done: Callable[[], bool]
) -> None:
    while not done():
        await act(conn)


@pytest.mark.parametrize("seed", [1, 2])
async def test_everybody_at_once(database: Database, admin: Connection, seed: int) -> None:
    users = {await notify(admin, user_id=user): user for user in USERS * 60}
    await admin.execute("UPDATE notify.notifications SET created_at = $1", NOW - 40 * DAYS)
    crowd = Crowd(users, random.Random(seed))
    acts = [crowd.work, crowd.work, crowd.work, crowd.purge, crowd.purge, crowd.read, crowd.cancel]
    conns = [await asyncpg.connect(database.app) for _ in range(len(acts) + 1)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for conn, act in zip(conns, [*acts, crowd.age], strict=True):
            tasks.create_task(again(conn, act, lambda: crowd.purged >= 200))
    for conn in conns:
        await conn.close()
    assert len(await left(admin)) == len(users) - crowd.purged
    for (count,) in await admin.fetch(ORPHANS):
        row = await admin.fetchrow(count)
        assert row is not None
        assert row["count"] == 0, row
    assert await admin.fetch(WRONG) == []
