"""Hot statements go by the right index, sort nothing big, and cost as much in a big database as in a small one."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from db import intake, producer, retention
from db.pool import Connection
from db.retention import BEGINNING, Place, Purge
from relay.relay import BY_INDEX
from tests import servers
from tests.db.hot import HOT, Hot
from tests.db.plans import Explained, Plan
from tests.db.seeded import NEWEST, seed, uuid

SMALL, BIG = 20_000, 100_000
RUNS = 7  # from the sixth run of a prepared statement on Postgres may take a generic plan
TINY = {"channels", "templates", "veil_key"}  # a handful of rows, read whole or not
TINY_INDEXES = {"channels_pkey", "placements_pkey", "templates_name_channel_locale_version", "veil_key_pkey"}
TINY_ROWS = 100
HIGHER = 1.5  # an index over five times the rows may be a level higher

Urls = dict[int, str]


async def prepared() -> Urls:
    admin = os.environ[servers.ADMIN_URL]
    connection = await asyncpg.connect(admin)
    urls = {size: f"test_plans_{uuid4().hex[:8]}" for size in (SMALL, BIG)}
    for size, name in urls.items():
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {servers.TEMPLATE}")
        await seed(servers.in_database(admin, name), size)
    await connection.close()
    return {size: servers.in_database(admin, name) for size, name in urls.items()}


async def on_each(urls: Urls, statement: str) -> None:
    for url in urls.values():
        connection: Connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()


async def drop(urls: Urls) -> None:
    connection = await asyncpg.connect(os.environ[servers.ADMIN_URL])
    for url in urls.values():
        await connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
    await connection.close()


@pytest.fixture(scope="module")
def seeded() -> Iterator[Urls]:
    """A small and a big database, made once."""
    urls = asyncio.run(prepared())
    yield urls
    asyncio.run(drop(urls))


@pytest.fixture(scope="module", params=["fresh", "analyzed"])
def urls(request: pytest.FixtureRequest, seeded: Urls) -> Urls:
    """Without statistics first, as every table is at times; then with them."""
    if request.param == "analyzed":
        asyncio.run(on_each(seeded, "ANALYZE"))
    return seeded


async def explained(url: str, hot: Hot, size: int) -> list[Plan]:
    """The plans of a few runs, on a connection like the service's. Changes are taken back."""
    explained = await Explained.open(url, dict(hot.settings))
    try:
        for _ in range(RUNS):
            transaction = explained.conn.transaction()
            await transaction.start()
            await hot.call(explained.conn, size)
            await transaction.rollback()
        plans = await explained.take()
    finally:
        await explained.conn.close()
    assert len(plans) >= RUNS
    return plans


@pytest.mark.parametrize("hot", HOT, ids=lambda hot: hot.name)
async def test_a_hot_statement_costs_what_it_gives_whatever_the_tables_hold(urls: Urls, hot: Hot) -> None:
    small = await explained(urls[SMALL], hot, SMALL)
    big = await explained(urls[BIG], hot, BIG)
    for plan in big:
        assert plan.indexes <= hot.indexes | TINY_INDEXES
        assert plan.read_whole <= TINY
        assert plan.sorts <= hot.sorts
        assert plan.rows_read <= hot.rows + TINY_ROWS
        assert hot.partitions is None or len(plan.partitions) == hot.partitions
    assert max(plan.buffers for plan in big) <= max(plan.buffers for plan in small) * HIGHER + 20


async def test_a_repeated_key_is_looked_up_not_searched_for(urls: Urls) -> None:
    """The look-ups are the trigger's, so they are nested in the producer's one statement."""
    given = (str(uuid4()), "order.paid", "u", None, "{inapp}", "{}", None, "key-20", "normal")
    row = given + (None,) * 7
    for url in urls.values():
        explained = await Explained.open(url, {})
        await explained.conn.execute("SET auto_explain.log_nested_statements = on")
        assert await producer.insert(explained.conn, row) is not None
        plans = await explained.take()
        await explained.conn.close()
        assert "notifications_dedup_key" in set().union(*(plan.indexes for plan in plans))
        assert set().union(*(plan.read_whole for plan in plans)) <= TINY


PURGED_BY = {
    *("notifications_created_at", "notifications_pkey", "deliveries_pkey", "delivery_events_notification_id"),
    *(
        "scheduled_notification_id",
        "notifications_failed_notification_id",
        "inbox_notification_id",
        "inbox_counters_pkey",
    ),
    *(
        "push_attempts_pkey",
        "sms_messages_notification_id",
        "provider_events_notification_id",
        "digest_items_pkey",
    ),
    *("cap_slots_pkey", "endpoint_queue_notification_id", "digests_pkey", "digest_items_digest_id"),
    "pg_index_indexrelid_index",  # whether its own index is there
}
ENDED = "UPDATE notify.deliveries SET settled_at = '2025-12-01+00' WHERE notification_id = ANY ($1::uuid[])"


async def purging(url: str, size: int, before: datetime, after: Place) -> tuple[Purge, list[Plan]]:
    """As the relay calls it, a second time, when nothing has to be planned; taken back. All that the function does
    is nested in its one statement."""
    explained = await Explained.open(url, BY_INDEX)
    for _ in range(2):
        transaction = explained.conn.transaction()
        await transaction.start()
        await explained.conn.execute(ENDED, [uuid(size // 2 + i) for i in range(1, 101)])
        await explained.conn.execute("SET LOCAL auto_explain.log_nested_statements = on")
        await explained.take()
        found = await retention.purge(explained.conn, datetime.now(UTC) - before, after, 100)
        plans = await explained.take()
        await transaction.rollback()
    await explained.conn.close()
    return found, plans


async def test_a_purge_costs_what_it_takes_whatever_the_tables_hold(urls: Urls) -> None:
    pages = {}
    for size, url in urls.items():
        middle = Place(NEWEST + (size // 2 - size) * timedelta(milliseconds=1), UUID(uuid(size // 2)))
        found, plans = await purging(url, size, NEWEST, middle)
        assert (found.looked, found.rows["notifications"], found.rows["inbox"]) == (100, 100, 100)
        assert set().union(*(plan.indexes for plan in plans)) <= PURGED_BY
        assert set().union(*(plan.read_whole for plan in plans)) == set()
        assert max(plan.rows_read for plan in plans) <= 100 * 12 + TINY_ROWS
        pages[size] = max(plan.buffers for plan in plans)
    assert pages[BIG] <= pages[SMALL] * HIGHER + 20


async def test_a_purge_that_finds_nothing_is_one_look_at_an_index(urls: Urls) -> None:
    """Nothing is old enough; and what is was looked at before."""
    for size, url in urls.items():
        for before, after in (
            (NEWEST - timedelta(days=1), BEGINNING),
            (NEWEST, Place(NEWEST, UUID(int=2**128 - 1))),
        ):
            found, plans = await purging(url, size, before, after)
            assert found.looked == 0
            assert max(plan.rows_read for plan in plans) <= TINY_ROWS
            assert max(plan.buffers for plan in plans) <= 60


async def test_a_batch_is_looked_up_not_searched_for(urls: Urls) -> None:
    """The statements are the function's: plain rows, a key that is taken, and a row that goes alone."""
    plain = ("order.paid", "u", None, "{inapp}", "{}", None, None, "normal", *(None,) * 7)
    repeat = (*plain[:6], "key-20", *plain[7:])
    alone = (*plain[:3], "{inapp,email}", *plain[4:13], "60", None)
    for url in urls.values():
        explained = await Explained.open(url, {})
        await explained.conn.execute("SET auto_explain.log_nested_statements = on")
        rows = [(str(uuid4()), *row) for row in (*[plain] * 20, repeat, alone)]
        assert list(await intake.accept(explained.conn, rows)) == [20]
        plans = await explained.take()
        await explained.conn.close()
        assert {"notifications_dedup_key", "notifications_pkey"} <= set().union(*(p.indexes for p in plans))
        assert set().union(*(plan.read_whole for plan in plans)) <= TINY
