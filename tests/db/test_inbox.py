"""The inbox's statements: what they do, and that each uses its index."""

import asyncio
import json
from typing import Any

import pytest

from db import inbox
from db.inbox import Changed, Counters, Standing
from db.pool import Connection, Pool

SEED = """
    INSERT INTO notify.notifications (id, event_type, user_id, channels, payload, priority, created_at)
    SELECT md5(u || '/' || s)::uuid, 'x', 'user-' || u, '{inapp}', '{"title": "x"}', 'normal', now()
    FROM generate_series(1, 40) u, generate_series(1, 500) s;
    INSERT INTO notify.inbox (user_id, seq, notification_id, read_at)
    SELECT 'user-' || u, s, md5(u || '/' || s)::uuid, CASE WHEN s <= 490 THEN now() END
    FROM generate_series(1, 40) u, generate_series(1, 500) s;
    INSERT INTO notify.inbox_counters SELECT 'user-' || u, 500, 10, 990 FROM generate_series(1, 40) u;
    -- Users who never got anything much, so that the counters are no tiny table.
    INSERT INTO notify.inbox_counters SELECT 'other-' || u, 0, 0, 0 FROM generate_series(1, 20000) u;
    ANALYZE notify.notifications; ANALYZE notify.inbox; ANALYZE notify.inbox_counters;
"""
ONE, MANY = "user-7", [f"user-{number}" for number in range(1, 41)]

# statement, its parameters, the indexes it must use and no others
PLANS: list[tuple[str, tuple[Any, ...], set[str]]] = [
    ("counters", (ONE,), {"inbox_counters_pkey"}),
    ("lock", (ONE,), {"inbox_counters_pkey"}),
    ("versions", (MANY,), {"inbox_counters_pkey"}),
    ("items", (ONE, 400, 500, 50), {"inbox_pkey", "notifications_pkey"}),
    ("latest", (ONE, 0, 500, 50), {"inbox_pkey", "notifications_pkey"}),
    ("marks", (ONE, 300, 500), {"inbox_pkey"}),
    ("mark_read", (ONE, [499, 500]), {"inbox_pkey"}),
    ("mark_read_up_to", (ONE, 500), {"inbox_pkey"}),
    ("mark_unread", (ONE, [1, 2]), {"inbox_pkey"}),
    ("archive", (ONE, [499, 500]), {"inbox_pkey"}),
    ("archive_up_to", (ONE, 500), {"inbox_pkey"}),
    ("unarchive", (ONE, [1, 2]), {"inbox_pkey"}),
    ("recount", (ONE, 1), {"inbox_counters_pkey"}),
]


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


async def test_each_statement_uses_its_index(pool: Pool, admin: Connection) -> None:
    await admin.execute(SEED)
    assert {name for name, _, _ in PLANS} == set(inbox.SQL)
    for name, parameters, wanted in PLANS:
        async with pool.acquire() as conn, conn.transaction():
            text = await conn.fetchval(f"EXPLAIN (FORMAT JSON) {inbox.SQL[name]}", *parameters)
        plan = nodes(json.loads(text)[0]["Plan"])
        types = {node["Node Type"] for node in plan}
        assert {node["Index Name"] for node in plan if "Index Name" in node} == wanted, (name, types)
        assert "Seq Scan" not in types, name
        if name in {"items", "latest"}:
            assert "Sort" not in types, name


@pytest.fixture
async def seeded(admin: Connection) -> Connection:
    await admin.execute(SEED)
    return admin


async def test_reading(pool: Pool, seeded: Connection) -> None:
    async with pool.acquire() as conn:
        assert await inbox.counters(conn, ONE) == Counters(last_seq=500, unread=10, version=990)
        assert await inbox.counters(conn, "nobody") == Counters()
        assert await inbox.versions(conn, [ONE, "nobody"]) == {ONE: 990}
        page = await inbox.items(conn, ONE, (480, 495), 10)
        assert [item.seq for item in page] == list(range(481, 491))
        assert page[0].payload == {"title": "x"}
        assert page[0].read_at is not None
        assert [item.seq for item in await inbox.latest(conn, ONE, (0, 498), 3)] == [496, 497, 498]
        assert await inbox.marks(conn, ONE, (488, 492)) == [
            Standing(489, read=True, archived=False),
            Standing(490, read=True, archived=False),
            Standing(491, read=False, archived=False),
            Standing(492, read=False, archived=False),
        ]


async def test_changing(pool: Pool, seeded: Connection) -> None:
    async with pool.acquire() as conn, conn.transaction():
        assert await inbox.lock(conn, ONE) == Counters(500, 10, 990)
        assert await inbox.mark_read(conn, ONE, [490, 491, 491, 501]) == Changed([491], 1)
        assert await inbox.archive(conn, ONE, [490, 491, 492]) == Changed([490, 491, 492], 1)
        assert await inbox.archive(conn, ONE, [490]) == Changed([], 0)
        # 492 is archived, so it is marked but no longer counts
        assert await inbox.mark_read_up_to(conn, ONE, 494) == Changed([492, 493, 494], 2)
        assert await inbox.recount(conn, ONE, -4) == Counters(500, 6, 991)
        assert [item.seq for item in await inbox.latest(conn, ONE, (487, 500), 5)] == [
            496,
            497,
            498,
            499,
            500,
        ]
        standing = await inbox.marks(conn, ONE, (489, 500))
        assert [item.seq for item in standing if item.read] == [490, 491, 492, 493, 494]
        assert [item.seq for item in standing if item.archived] == [490, 491, 492]
    assert await inbox.counters(seeded, "user-8") == Counters(500, 10, 990)


async def test_the_counter_row_makes_one_wait_for_the_other(pool: Pool, seeded: Connection) -> None:
    async with pool.acquire() as first, pool.acquire() as second:
        transaction = first.transaction()
        await transaction.start()
        await inbox.lock(first, ONE)

        async def follow() -> Counters:
            async with second.transaction():
                return await inbox.lock(second, ONE)

        follower = asyncio.create_task(follow())
        waiting = """SELECT count(*) FROM pg_stat_activity
                     WHERE wait_event_type = 'Lock' AND datname = current_database()"""
        async with asyncio.timeout(60):
            while not await seeded.fetchval(waiting):
                assert not follower.done()
        await inbox.recount(first, ONE, -3)
        await transaction.commit()
        assert await follower == Counters(500, 7, 991)


async def test_unread_never_goes_below_zero(pool: Pool, seeded: Connection) -> None:
    async with pool.acquire() as conn:
        with pytest.raises(Exception, match="unread_is_not_negative"):
            await inbox.recount(conn, ONE, -11)
