"""The stream of dead letters: each letter once, whatever was in the way."""

import asyncio
from typing import Any

import redis.asyncio as aioredis

from db.pool import Connection, Pool
from outbox.nodes import Nodes
from outbox.settings import Settings
from tests.db.test_dead import letter
from workers.mirror import Mirror


async def told(redis: "aioredis.Redis", settings: Settings) -> list[dict[bytes, bytes]]:
    rows: Any = await redis.xrange(settings.keys.dead_letters)
    return [fields for _, fields in rows]


async def test_told_once(
    pool: Pool, nodes: Nodes, settings: Settings, admin: Connection, redis: "aioredis.Redis"
) -> None:
    sent = [str(await letter(admin)) for _ in range(3)]
    mirror = Mirror(pool, nodes, settings.keys)
    await asyncio.gather(mirror.step(), mirror.step())  # as two workers would
    await mirror.step()
    entries = await told(redis, settings)
    assert [entry[b"notification_id"].decode() for entry in entries] == sent
    assert {entry[b"error_class"] for entry in entries} == {b"smtp_5xx"}
    assert b"payload" not in entries[0]


async def test_an_undecodable_entry_has_no_notification(
    pool: Pool, nodes: Nodes, settings: Settings, admin: Connection, redis: "aioredis.Redis"
) -> None:
    await admin.execute(
        "INSERT INTO notify.notifications_failed (channel, error_class, reason, stream, entry_id, raw) "
        "VALUES ('inapp', 'undecodable', 'no envelope', 's', '1-1', 'x')"
    )
    await Mirror(pool, nodes, settings.keys).step()
    [fields] = await told(redis, settings)
    assert b"notification_id" not in fields
    assert (fields[b"channel"], fields[b"attempts"]) == (b"inapp", b"0")


async def test_what_redis_did_not_take_is_told_later(
    pool: Pool, nodes: Nodes, settings: Settings, admin: Connection, redis: "aioredis.Redis"
) -> None:
    await letter(admin)
    away = Nodes("redis://127.0.0.1:1", protocol=2)
    try:
        await Mirror(pool, away, settings.keys).step()
    except aioredis.ConnectionError:
        pass
    else:
        raise AssertionError("a server that is not there took it")
    finally:
        await away.aclose()
    await Mirror(pool, nodes, settings.keys).step()
    assert await redis.xlen(settings.keys.dead_letters) == 1
