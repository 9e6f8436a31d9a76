"""What may be dropped (I7): old partitions, but never a row that no tick holds, or that a stream may have lost."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from db import relay as sql
from db.pool import Connection
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay.main import build
from relay.upkeep import Upkeep
from tests.conftest import Database
from tests.relay.conftest import Reader, relaying

MANY = "INSERT INTO notify.outbox (event_type, user_id) SELECT 'a', 'u' || i FROM generate_series($1::int, $2::int) i"
AGE = "UPDATE notify.outbox SET created_at = created_at - interval '9 days'"


@pytest.fixture
def small(settings: Settings) -> Settings:
    return settings.model_copy(update={"partition_rows": 50, "retention": timedelta(days=3)})


async def test_a_backlog_older_than_the_retention_is_relayed_whole(
    small: Settings, producer: Connection, admin: Connection, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay was away for longer than the retention; its consumers are quick, so streams are often empty."""
    monkeypatch.setattr("relay.look.TICK_ROWS", 20)
    monkeypatch.setattr("relay.upkeep.EVERY_SECONDS", 0.01)
    await admin.execute("SELECT setval('notify.outbox_id_seq', 999800)")
    for start in range(1, 600, 10):
        await producer.execute(MANY, start, start + 9)
    await admin.execute(AGE)
    seen: list[str] = []
    stream = small.keys.stream("inapp")
    async with relaying(small.model_copy(update={"relay_verify": 0.01})), asyncio.timeout(60):
        while len(seen) < 600:
            for entry_id, fields in await reader.raw(stream):
                seen.append(fields[b"envelope"].split(b'"user_id":"')[1].split(b'"')[0].decode())
                await reader.redis.xdel(stream, entry_id)
            await asyncio.sleep(0.005)
    assert seen == [f"u{i}" for i in range(1, 601)]


async def test_a_partition_outlives_a_flush_that_nobody_has_noticed_yet(
    small: Settings, producer: Connection, admin: Connection, reader: Reader, nodes: Nodes
) -> None:
    await admin.execute("SELECT setval('notify.outbox_id_seq', 999990)")
    relay = build(small, nodes)
    upkeep = Upkeep(relay, small.database, 50, small.retention)
    await producer.execute(MANY, 1, 15)  # across the end of the first partition
    await admin.execute(AGE)
    while await relay.step() == 0:
        pass
    await relay.verify()
    assert relay.droppable is not None
    await reader.redis.flushdb()
    while await upkeep.step() == 0:
        pass
    await relay.verify()
    assert relay.droppable is None, "what is being mended is not certain"
    while await upkeep.step() == 0:
        pass
    while await relay.step() == 0:
        pass
    assert await reader.users() == [f"u{i}" for i in range(1, 16)]
    await relay.stop()
    await upkeep.stop()


async def test_a_row_that_commits_very_late_keeps_its_partition(
    small: Settings, database: Database, producer: Connection, admin: Connection, reader: Reader, nodes: Nodes
) -> None:
    relay = build(small, nodes)
    upkeep = Upkeep(relay, small.database, 50, small.retention)
    await producer.execute(MANY, 1, 3)
    while await relay.step() == 0:
        pass
    await reader.redis.xtrim(small.keys.stream("inapp"), maxlen=0, approximate=False)
    await relay.verify()
    await producer.execute(MANY, 4, 4)  # committed, and in no tick yet
    await admin.execute("SELECT setval('notify.outbox_id_seq', 1000001)")
    await admin.execute(AGE)
    while await upkeep.step() == 0:
        pass
    assert "outbox_p0000000000000000000" in {part["name"] for part in await sql.partitions(admin)}
    await relay.step()
    await reader.redis.xtrim(small.keys.stream("inapp"), maxlen=0, approximate=False)
    await relay.verify()
    while await upkeep.step() == 0:
        pass
    assert "outbox_p0000000000000000000" not in {part["name"] for part in await sql.partitions(admin)}
    await relay.stop()
    await upkeep.stop()


async def test_ids_that_outran_the_partitions_get_one_again_while_producers_write(
    small: Settings, database: Database, admin: Connection, reader: Reader
) -> None:
    settings = small.model_copy(update={"partition_rows": 400})
    await admin.execute("SELECT setval('notify.outbox_id_seq', 1000000)")  # behind the last one's end
    stop = asyncio.Event()

    async def produce(writer: int) -> int:
        connection = await asyncpg.connect(database.producer)
        number = 0
        while not stop.is_set():
            await connection.execute(MANY, 10**6 * writer + number, 10**6 * writer + number)
            number += 1
        await connection.close()
        return number

    async with relaying(settings):
        producing = [asyncio.create_task(produce(writer)) for writer in range(6)]

        async def attached(_: Reader) -> bool:
            return any(part["from_id"] > 1_000_000 for part in await sql.partitions(admin))

        await reader.until(attached)
        stop.set()
        written = sum(await asyncio.gather(*producing))

        async def complete(reader: Reader) -> bool:
            return len(set(await reader.users())) == written

        await reader.until(complete)
