"""The road on a Redis Cluster of three real nodes: flushed, a node killed, a slot moved. Nothing is lost or doubled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio as aioredis

from db.pool import Connection
from outbox import look
from outbox.cli import reach
from outbox.errors import SettingsError
from outbox.nodes import Nodes, seeds, url_of
from outbox.service import Stop
from outbox.settings import Settings
from outbox.streams import GROUP, LANES
from tests.gateway.harness import Client, serving
from tests.relay.conftest import Reader, relaying
from tests.three_nodes import Cluster
from workers import main as workers_main

INSERT = (
    "INSERT INTO notify.outbox (event_type, user_id, priority)"
    " SELECT 'a', 'ada', $1 FROM generate_series(1, $2::int)"
)


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[None]:
    stop = Stop()
    running = asyncio.create_task(workers_main.main(settings, ["inapp"], stop))
    try:
        yield
    finally:
        stop.ask()
        async with asyncio.timeout(60):
            await running


@asynccontextmanager
async def road(settings: Settings) -> AsyncIterator[Client]:
    """Relay, in-app worker and gateway; a browser of ada's."""
    async with relaying(settings), working(settings), serving(settings) as gate, gate.client("ada") as client:
        await client.synced()
        yield client


async def send(producer: Connection, each: int) -> None:
    """So many in each lane, so on each node."""
    for lane in LANES:
        await producer.execute(INSERT, lane.value, each)


async def ids(redis: "aioredis.Redis", settings: Settings, lane: str) -> list[bytes]:
    raw = await Reader(redis, settings).raw(settings.keys.stream("inapp", lane))
    return [entry_id for entry_id, _ in raw]


async def until_there(redis: "aioredis.Redis", settings: Settings, each: int) -> dict[str, list[bytes]]:
    """The ids in each lane, once there are so many."""
    reader = Reader(redis, settings)

    async def complete(_: Reader) -> bool:
        return [len(await ids(redis, settings, lane)) for lane in LANES] == [each] * len(LANES)

    await reader.until(complete)
    return {lane: await ids(redis, settings, lane) for lane in LANES}


async def audit(admin: Connection, redis: "aioredis.Redis", settings: Settings, total: int) -> None:
    """Each delivered once, in seq order without a gap, and nothing left in the streams."""
    rows = await admin.fetch("SELECT seq, notification_id FROM notify.inbox ORDER BY seq")
    assert [row["seq"] for row in rows] == list(range(1, total + 1))
    assert len({row["notification_id"] for row in rows}) == total
    assert await admin.fetchval("SELECT count(*) FROM notify.deliveries WHERE status <> 'delivered'") == 0
    await until_there(redis, settings, 0)


async def test_from_the_insert_to_the_frame(
    spread: Settings, producer: Connection, admin: Connection, redis: "aioredis.Redis"
) -> None:
    """The hints of three nodes are heard on one."""
    async with road(spread) as client:
        await send(producer, 20)
        await client.has(60)
        await audit(admin, redis, spread, 60)


async def test_a_flush_of_all_nodes(
    spread: Settings, producer: Connection, admin: Connection, redis: "aioredis.Redis"
) -> None:
    """What is open comes back under the same ids, group and all."""
    async with relaying(spread):
        await send(producer, 50)
        before = await until_there(redis, spread, 50)
        await redis.flushall()
        assert await until_there(redis, spread, 50) == before
    async with road(spread) as client:
        await client.has(150)
        await redis.flushall()
        await send(producer, 10)
        await client.has(180)
        await audit(admin, redis, spread, 180)


async def test_a_node_is_killed_and_started_again(
    spread: Settings, cluster: Cluster, producer: Connection, admin: Connection, redis: "aioredis.Redis"
) -> None:
    """Each of them in turn, so the one that the gateway listens to, too."""
    async with road(spread) as client:
        for lane in LANES:
            node = cluster.holder(spread.keys.stream("inapp", lane))
            await send(producer, 20)
            node.kill()
            await send(producer, 20)
            node.start()
            await asyncio.to_thread(cluster.until_whole)
        await client.has(3 * 2 * 20 * 3)
        await audit(admin, redis, spread, 3 * 2 * 20 * 3)


async def test_a_slot_moves_while_it_is_written_and_read(
    spread: Settings, cluster: Cluster, producer: Connection, admin: Connection, redis: "aioredis.Redis"
) -> None:
    stream = spread.keys.stream("inapp")
    async with relaying(spread):
        await send(producer, 100)
        before = await until_there(redis, spread, 100)
        source, target = cluster.open_move(stream)
        assert cluster.move_keys(stream, source, target) == 1
        await send(producer, 100)  # the source says ASK now
        cluster.close_move(stream, source, target)
        after = await until_there(redis, spread, 200)
    assert cluster.holder(stream) is target
    for lane in LANES:
        assert after[lane][:100] == before[lane], "the same ids, in the same order, none twice"
    async with road(spread) as client:
        await client.has(600)
        source, target = cluster.open_move(stream)  # while its reader waits for more
        await send(producer, 5)
        cluster.move_keys(stream, source, target)
        cluster.close_move(stream, source, target)
        await client.has(615)
        await audit(admin, redis, spread, 615)
        assert len(await redis.xinfo_consumers(stream, GROUP)) >= 1, "the group moved along"


async def test_status_sees_the_streams_of_all_nodes(
    spread: Settings, producer: Connection, admin: Connection, redis: "aioredis.Redis", nodes: Nodes
) -> None:
    async with relaying(spread):
        await send(producer, 4)
        await until_there(redis, spread, 4)
    seen = await look.take(admin, nodes, spread.keys)
    assert {stream.name: stream.length for stream in seen.streams} == {
        spread.keys.stream("inapp", lane): 4 for lane in LANES
    }


async def test_a_dead_node_does_not_keep_the_others_from_being_asked(
    settings: Settings, cluster: Cluster, nodes: Nodes
) -> None:
    victim = cluster.nodes[0]
    key = next(f"k{n}" for n in range(1000) if cluster.holder(f"k{n}") is not victim)
    victim.kill()
    try:
        async with nodes.at(key) as redis:  # found by asking a node that lives
            assert await redis.get(key) is None
        await (await nodes.subscriber()).disconnect()
        await (await reach.redis(settings.redis)).aclose()
    finally:
        victim.start()
        await asyncio.to_thread(cluster.until_whole)


async def test_a_node_given_as_a_single_server_is_refused(cluster: Cluster) -> None:
    node = url_of(cluster.url, seeds(cluster.url)[0])
    with pytest.raises(SettingsError, match=r"redis\+cluster://host:port"):
        await reach.redis(node)
