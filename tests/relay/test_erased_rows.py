"""Rows that an erasure takes out of the log, whatever the relay has made of them by then: nothing else is lost, nothing
comes twice, and the relay is at peace afterwards."""

from typing import Any

from db import erasure
from db.pool import Connection, Pool
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay.main import build
from relay.relay import Relay
from tests.relay.conftest import Reader

INSERT = "INSERT INTO notify.outbox (event_type, user_id, actor_user_id) VALUES ('order.paid', $1, $2)"


async def write(producer: Connection, *users: str, actor: str | None = None) -> None:
    for user in users:
        await producer.execute(INSERT, user, actor)


async def erase(pool: Pool, user: str) -> None:
    async with pool.acquire() as conn:
        assert await erasure.erase_log(conn, user, 0, erasure.END_OF_LOG) == 1


async def settled(relay: Relay) -> bool:
    """It has verified every stream, and has nothing to mend."""
    return not await relay.verify() and relay.droppable is not None


async def test_before_it_was_read(
    settings: Settings, producer: Connection, pool: Pool, redis: Any, nodes: Nodes
) -> None:
    relay = build(settings, nodes)
    await write(producer, "bob", "ada", "eve")
    await erase(pool, "ada")
    await relay.step()
    assert await Reader(redis, settings).users() == ["bob", "eve"]
    assert await settled(relay)
    await relay.stop()


async def test_the_last_of_a_tick_before_another_relay_reads_the_tick_again(
    settings: Settings, producer: Connection, pool: Pool, redis: Any, nodes: Nodes
) -> None:
    first = build(settings, nodes)
    await write(producer, "bob", "ada")
    await first.step()
    await first.stop()
    await erase(pool, "ada")
    second = build(settings, nodes)
    await second.step()
    assert await settled(second), "the stream ends behind the last row that is left: that is no loss"
    await write(producer, "eve")
    await second.step()
    assert await Reader(redis, settings).users() == ["bob", "ada", "eve"], (
        "the streams are the sweep's business"
    )
    assert await settled(second)
    await second.stop()


async def test_the_only_one_of_a_tick(
    settings: Settings, producer: Connection, pool: Pool, redis: Any, nodes: Nodes
) -> None:
    first = build(settings, nodes)
    for user in ("bob", "ada"):
        await write(producer, user)
        await first.step()
    await first.stop()
    await erase(pool, "ada")
    second = build(settings, nodes)
    await second.step()
    assert await settled(second), "the stream ends behind what is left of its ticks: no other relay was here"
    await write(producer, "eve")
    await second.step()
    assert await Reader(redis, settings).users() == ["bob", "ada", "eve"]
    assert await settled(second)
    await second.stop()


async def test_before_a_refill(
    settings: Settings, producer: Connection, pool: Pool, redis: Any, nodes: Nodes
) -> None:
    relay = build(settings, nodes)
    reader = Reader(redis, settings)
    await write(producer, "bob", "ada", "eve")
    await relay.step()
    before = await reader.entries()
    await erase(pool, "ada")
    await redis.flushdb()
    await relay.verify()
    while await relay.step() == 0:
        pass
    assert await reader.entries() == [entry for entry in before if entry[1].user_id != "ada"]
    assert await settled(relay)
    await relay.stop()


async def test_who_did_it_is_left_out_of_what_comes_back(
    settings: Settings, producer: Connection, pool: Pool, redis: Any, nodes: Nodes
) -> None:
    relay = build(settings, nodes)
    reader = Reader(redis, settings)
    await write(producer, "bob", "eve", actor="ada")
    await relay.step()
    ids = [entry_id for entry_id, _ in await reader.entries()]
    async with pool.acquire() as conn:
        assert await erasure.forget_actor_in_log(conn, "ada", 0, erasure.END_OF_LOG) == 2
    await redis.flushdb()
    await relay.verify()
    while await relay.step() == 0:
        pass
    entries = await reader.entries()
    assert [(entry_id, envelope.actor_user_id) for entry_id, envelope in entries] == [
        (one, None) for one in ids
    ]
    await relay.stop()
