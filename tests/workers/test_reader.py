"""Reading a stream: never more than there is room for, and at the end everything is left to others."""

from tests.workers.conftest import Road
from workers.reader import PAGE, Reader, Source


async def reader(road: Road, entries: int) -> Reader:
    """Of a stream with so many entries."""
    source = Source(road.settings.keys.stream("inapp"), "me", lease_seconds=60)
    made = Reader(road.nodes, source)
    await made.make_group()
    pipe = road.redis.pipeline(transaction=False)
    for number in range(entries):
        pipe.xadd(source.stream, {"n": number}, id=f"1-{number + 1}")
    await pipe.execute()
    return made


async def test_what_a_lost_reply_held_comes_in_pages_that_there_is_room_for(road: Road) -> None:
    made = await reader(road, 20)
    first = await made.read(20)
    made._own_from = b"0"  # as though the reply had been lost
    pages = [await made.read(8) for _ in range(3)]
    assert [len(page) for page in pages] == [8, 8, 4]
    assert [entry.id for page in pages for entry in page] == [entry.id for entry in first]


async def test_everything_is_left_to_others(road: Road) -> None:
    made = await reader(road, 2 * PAGE + 1)
    await made.read(2 * PAGE + 1)
    assert await made.leave() == 2 * PAGE + 1
    heir = Reader(road.nodes, Source(made.source.stream, "heir", lease_seconds=60))
    assert len(await heir.read(2 * PAGE + 1)) == 2 * PAGE + 1
    assert await made.leave() == 0
    consumers = await road.redis.xinfo_consumers(made.source.stream, "workers")
    assert [consumer["name"] for consumer in consumers] == [b"heir"]
