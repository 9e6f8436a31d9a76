"""Partitions: always one ahead, old ones away, none that is still needed."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest

from db import relay as sql
from db.pool import Connection
from outbox.settings import Settings
from relay.upkeep import Partition, old_ones, wanted
from tests.relay.conftest import Reader, relaying

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def parts(*bounds: int) -> list[Partition]:
    return [Partition(f"p{a}", a, b) for a, b in pairwise(bounds)]


@pytest.mark.parametrize(
    ("partitions", "last", "expected"),
    [
        (parts(0, 100), 0, None),
        (parts(0, 100), 1, (100, 200)),
        (parts(0, 100, 200), 100, None),
        (parts(0, 100), 150, (250, 350)),  # outrun: the default partition takes 100 to 249
        ([], 0, (100, 200)),
    ],
)
def test_wanted(partitions: list[Partition], last: int, expected: tuple[int, int] | None) -> None:
    assert wanted(partitions, last, 100) == expected


def test_only_old_partitions_below_every_stream_go() -> None:
    old, young = NOW - timedelta(days=4), NOW
    cutoff = NOW - timedelta(days=3)
    three = parts(0, 100, 200, 300)
    assert old_ones(three, [old, old, young], cutoff, 1000) == 2
    assert old_ones(three, [old, old, young], cutoff, 150) == 1, "an entry of the second is in a stream"
    assert old_ones(three, [young, old, old], cutoff, 1000) == 0, "never out of the middle"
    assert old_ones(three, [None, old, young], cutoff, 1000) == 2, "an empty one holds up nobody"


async def test_rows_move_through_partitions_and_old_ones_are_dropped(
    settings: Settings, producer: Connection, admin: Connection, reader: Reader
) -> None:
    settings = settings.model_copy(update={"partition_rows": 50, "retention": timedelta(seconds=0.5)})
    await admin.execute("SELECT setval('notify.outbox_id_seq', 999900)")
    insert = (
        "INSERT INTO notify.outbox (event_type, user_id) SELECT 'a', 'u' || i FROM generate_series(1, 150) i"
    )
    async with relaying(settings):
        await producer.execute(insert)
        await reader.until_users([f"u{i}" for i in range(1, 151)])
        stream = settings.keys.stream("inapp")
        await reader.redis.xtrim(stream, maxlen=0)  # as if workers had settled them

        async def gone(_: Reader) -> bool:
            return "outbox_p0000000000000000000" not in {p["name"] for p in await sql.partitions(admin)}

        await producer.execute("INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'after')")
        await reader.until_users(["after"])
        await reader.redis.xtrim(stream, maxlen=0)
        await reader.until(gone)
    assert await admin.fetchval("SELECT count(*) FROM notify.relay_ticks") >= 1


async def test_rows_of_the_default_partition_are_relayed(
    settings: Settings, producer: Connection, admin: Connection, reader: Reader
) -> None:
    await admin.execute("SELECT setval('notify.outbox_id_seq', 5000000)")
    async with relaying(settings):
        await producer.execute("INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'far')")
        await reader.until_users(["far"])

        async def extended(_: Reader) -> bool:
            return any(p["from_id"] > 5000000 for p in await sql.partitions(admin))

        await reader.until(extended)


async def test_a_name_that_is_no_partition_is_not_dropped(admin: Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await sql.drop_partition(admin, "notifications", "1:1:")
