"""A channel that is added while the relay runs: its streams are as safe as those that it began with."""

from datetime import timedelta

import pytest

from db.pool import Connection
from outbox.settings import Settings
from tests.relay.conftest import Reader, relaying

ADD = "INSERT INTO notify.channels (name, kind) VALUES ('late-hooks', 'webhook')"
ROW = "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('a', $1, '{late-hooks}')"
OTHERS = "INSERT INTO notify.outbox (event_type, user_id) SELECT 'a', 'x' FROM generate_series(1, 120)"


async def test_its_streams_are_filled_verified_and_refilled(
    settings: Settings, producer: Connection, admin: Connection, reader: Reader
) -> None:
    async with relaying(settings):
        await producer.execute("INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'first')")
        await reader.until_users(["first"])
        await admin.execute(ADD)
        await producer.execute(ROW, "ada")
        await producer.execute(ROW, "bob")
        await reader.until_users(["ada", "bob"], "late-hooks")
        await reader.redis.delete(settings.keys.stream("late-hooks"))
        await reader.until_users(["ada", "bob"], "late-hooks")


async def test_a_relay_that_starts_afterwards_knows_them(
    settings: Settings, producer: Connection, admin: Connection, reader: Reader
) -> None:
    await admin.execute(ADD)
    async with relaying(settings):
        await producer.execute(ROW, "ada")
        await reader.until_users(["ada"], "late-hooks")
    await reader.redis.flushdb()
    async with relaying(settings):
        await reader.until_users(["ada"], "late-hooks")


async def test_a_partition_stays_while_its_stream_holds_an_entry_of_it(
    settings: Settings,
    producer: Connection,
    admin: Connection,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("relay.upkeep.EVERY_SECONDS", 0.01)
    small = settings.model_copy(
        update={"partition_rows": 50, "retention": timedelta(days=3), "relay_verify": 0.01}
    )
    await admin.execute("SELECT setval('notify.outbox_id_seq', 999990)")
    await admin.execute(ADD)
    await producer.execute(ROW, "ada")
    await producer.execute(OTHERS)
    await admin.execute("UPDATE notify.outbox SET created_at = created_at - interval '9 days'")
    first = "SELECT to_regclass('notify.outbox_p0000000000000000000') IS NOT NULL"
    stream = small.keys.stream("late-hooks")

    async def gone(reader: Reader) -> bool:
        return not await admin.fetchval(first)

    async with relaying(small):
        await reader.until_users(["ada"], "late-hooks")
        inapp = small.keys.stream("inapp")
        await reader.until(lambda reader: length_is(reader, inapp, 120))
        await reader.redis.xdel(inapp, *[entry_id for entry_id, _ in await reader.raw(inapp)])
        await admin.execute("SELECT pg_sleep(0.3)")  # many looks of the upkeep
        assert await admin.fetchval(first), "ada's entry is in it"
        await reader.redis.xdel(stream, *[entry_id for entry_id, _ in await reader.raw(stream)])
        await reader.until(gone)


async def length_is(reader: Reader, stream: str, number: int) -> bool:
    return bool(await reader.redis.xlen(stream) == number)
