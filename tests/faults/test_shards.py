"""P2 and P3 with kill -9 while the number of shards changes: each row once, in the shard that its tick was made for."""

import asyncio
import signal

import pytest
import redis.asyncio as aioredis

from db.pool import Connection
from outbox.settings import Settings
from tests.faults.conftest import process
from tests.relay.conftest import Reader, relaying
from tests.relay.shards import Found, Outside

INSERT = "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('a', $1, '{inapp,email}')"
POINTS = [
    ("db.shards:of_channels", "after", 5),
    ("db.shards:placement", "before", 1),
    ("db.shards:placement", "after", 1),  # a placement, and no tick by it
    ("db.shards:placement", "after", 3),
    ("db.relay:look_and_tick", "after", 20),  # a tick, or not: nobody was told
    ("db.relay:insert_tick", "before", 8),
    ("db.relay:insert_tick", "after", 8),
    ("relay.streams:Streams.append", "before", 12),
    ("relay.streams:Streams.append", "after", 12),  # some of a tick's shards have it
    ("relay.streams:Streams.append", "after", 25),
    ("relay.streams:Streams.states", "before", 6),
]
NUMBERS = (4, 1, 16, 2, 8)


@pytest.fixture
def outside(admin: Connection, redis: aioredis.Redis, settings: Settings) -> Outside:
    return Outside(admin, Reader(redis, settings))


@pytest.mark.parametrize(("point", "when", "number"), POINTS)
async def test_p2_p3_kill_9_while_the_number_of_shards_changes(
    settings: Settings, producer: Connection, outside: Outside, point: str, when: str, number: int
) -> None:
    settings = settings.model_copy(update={"relay_lease": 1})
    users: list[str] = []
    more = {"OUTBOX_RELAY_VERIFY": "0.02"}
    async with process(
        "tests.faults.victim", "relay", point, when, str(number), settings=settings, **more
    ) as victim:
        dying = {asyncio.create_task(victim.wait())}
        async with asyncio.timeout(60):
            while victim.returncode is None:
                if len(users) % 6 == 3:
                    await outside.set("email", NUMBERS[len(users) // 6 % len(NUMBERS)])
                users.append(f"u{len(users)}")
                await producer.execute(INSERT, users[-1])
                await asyncio.wait(dying, timeout=0.02)
        assert victim.returncode == -signal.SIGKILL
    await outside.set("email", 2)
    async with relaying(settings):
        await outside.until_users("email", users)
        await outside.until_users("inapp", users)
        before = await outside.found("email")
        await outside.reader.redis.flushdb()
        await outside.until_users("email", users)
        assert kept(await outside.found("email")) == kept(before), "under the same ids, in the same shards"


def kept(found: Found) -> list[tuple[int, str, str]]:
    return [(shard, str(id_), envelope.user_id) for shard, each in found.items() for id_, envelope in each]
