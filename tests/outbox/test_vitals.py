"""What every process tells of itself: its pool, and whether Postgres and Redis answer."""

from importlib.metadata import version

import pytest
from prometheus_client import REGISTRY

from db.pool import open_pool
from outbox import vitals
from outbox.nodes import Nodes
from outbox.settings import Settings
from outbox.vitals import Vitals


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_both_answer(settings: Settings, nodes: Nodes) -> None:
    pool = await open_pool(settings.database, name="test", size=3)
    process = Vitals("relay", pool, nodes)
    asked = value("outbox_postgres_ping_seconds_count") or 0
    assert await process.step() == vitals.EVERY_SECONDS
    assert value("outbox_build_info", component="relay", version=version("outbox")) == 1
    assert value("outbox_postgres_up") == 1
    assert value("outbox_postgres_ping_seconds_count") == asked + 1
    assert {value("outbox_redis_up", node=node) for node, _ in await nodes.each()} == {1}
    assert value("outbox_postgres_pool_max_connections") == 3
    async with pool.acquire():
        assert value("outbox_postgres_pool_connections", state="in_use") == 1
    assert value("outbox_postgres_pool_connections", state="in_use") == 0
    assert value("outbox_postgres_pool_connections", state="idle") == 1
    pool.terminate()


async def test_a_pool_without_a_free_connection_is_silent(
    settings: Settings, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitals, "SILENCE_SECONDS", 0.05)
    pool = await open_pool(settings.database, name="test", size=1)
    process = Vitals("relay", pool, nodes)
    failed = value("outbox_postgres_pings_failed_total") or 0
    async with pool.acquire():
        await process.look_at_postgres()
    assert value("outbox_postgres_up") == 0
    assert value("outbox_postgres_pings_failed_total") == failed + 1
    monkeypatch.setattr(vitals, "SILENCE_SECONDS", 60)
    await process.look_at_postgres()
    assert value("outbox_postgres_up") == 1
    pool.terminate()


async def test_a_redis_that_is_away_and_one_that_has_left(settings: Settings, nodes: Nodes) -> None:
    pool = await open_pool(settings.database, name="test")
    process = Vitals("relay", pool, Nodes("redis://127.0.0.1:9", protocol=2))
    await process.look_at_redis()
    assert value("outbox_redis_up", node="127.0.0.1:9") == 0
    process.nodes = nodes
    await process.look_at_redis()
    assert value("outbox_redis_up", node="127.0.0.1:9") is None, "it is no node of this Redis any more"
    pool.terminate()


async def test_a_cluster_of_which_nobody_answers(settings: Settings) -> None:
    """The nodes that were there last; the URL's own where there were none yet."""
    pool = await open_pool(settings.database, name="test")
    process = Vitals("relay", pool, Nodes("redis+cluster://127.0.0.1:9,127.0.0.1:10", protocol=2))
    vitals.REDIS_UP.clear()
    await process.look_at_redis()
    assert {value("outbox_redis_up", node=f"127.0.0.1:{port}") for port in (9, 10)} == {0}
    vitals.REDIS_UP.clear()
    vitals.REDIS_UP.labels("10.0.0.7:6379").set(1)
    await process.look_at_redis()
    assert value("outbox_redis_up", node="10.0.0.7:6379") == 0
    assert value("outbox_redis_up", node="127.0.0.1:9") is None
    pool.terminate()
