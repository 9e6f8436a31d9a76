"""Workers read every shard that there is, and those of before until nothing is left in them."""

from redis.exceptions import ResponseError

from tests.workers.conftest import Road, eventually
from workers.follow import Shard, shards_that_hold

SHARDS = (
    "INSERT INTO notify.channel_shards VALUES ('inapp', $1)"
    " ON CONFLICT (channel) DO UPDATE SET shards = excluded.shards"
)


async def in_shard(road: Road, shard: int) -> None:
    """Three notifications whose entries are in this shard."""
    for _ in range(3):
        await road.send(shard=shard, user_id=f"u{shard}")


async def readers(road: Road, shard: int) -> int:
    try:
        groups = await road.redis.xinfo_groups(road.settings.keys.stream("inapp", shard=shard))
    except ResponseError:
        return 0
    return int(groups[0]["consumers"]) if groups else 0


async def delivered(road: Road, number: int) -> None:
    async def all_of_them() -> bool:
        placed = await road.admin.fetchval("SELECT count(DISTINCT notification_id) FROM notify.inbox")
        return bool(placed == number)

    await eventually(all_of_them, f"{number} are in the inbox")
    assert await road.admin.fetchval("SELECT count(*) FROM notify.inbox") == number


async def test_all_shards_are_read_and_a_running_worker_hears_of_more(road: Road) -> None:
    async with road.worker():
        await in_shard(road, 0)
        await delivered(road, 3)
        await road.admin.execute(SHARDS, 4)
        for shard in range(4):
            await in_shard(road, shard)
        await delivered(road, 15)
        for shard in range(4):
            assert await readers(road, shard) == 1


async def test_a_shard_of_before_is_read_until_it_is_empty(road: Road) -> None:
    """What went into it may come back there, too: Redis was flushed, and the relay refills it."""
    await road.admin.execute("INSERT INTO notify.placements (shards) VALUES ('{\"inapp\": 4}')")
    await in_shard(road, 3)
    async with road.worker():
        await delivered(road, 3)

        async def left() -> bool:
            return await readers(road, 3) == 0

        await eventually(left, "nobody reads the empty shard")
        assert await readers(road, 0) == 1
        await in_shard(road, 3)
        await delivered(road, 6)


async def test_which_shards_hold_something(road: Road) -> None:
    await in_shard(road, 2)
    asked = [Shard("inapp", number) for number in range(1, 4)]
    assert await shards_that_hold(road.nodes, road.settings.keys, asked) == {Shard("inapp", 2)}
