"""Room that the shards of a lane share."""

import asyncio

from workers.room import Room


def test_one_reader_may_ask_for_all_that_is_free() -> None:
    room = Room()
    room.enter(asyncio.Event())
    assert room.share(10, 10) == 10
    room.hold(7)
    assert room.share(10, 10) == 3
    room.hold(5)
    assert room.share(10, 10) == 0, "more than there is, since two were read at the same time"
    room.release(4, 0)
    assert room.share(10, 10) == 2


def test_what_waits_to_be_settled_takes_no_room_at_the_provider() -> None:
    room = Room()
    room.enter(asyncio.Event())
    room.hold(4)
    assert room.share(10, 4) == 0
    for _ in range(3):
        room.attempt_ended()
    assert room.share(10, 4) == 3
    room.hold(6)
    assert room.share(10, 100) == 0, "but it is held"
    room.release(3, 3)
    assert (room.held, room.attempted) == (7, 0)


def test_many_share_what_is_free_and_one_that_has_much_comes_to_nearly_all() -> None:
    room = Room()
    for _ in range(4):
        room.enter(asyncio.Event())
    held = []
    while share := room.share(16, 16):
        held.append(share)
        room.hold(share)
    assert held[0] == 4
    assert sum(held) == 16


def test_who_waits_for_room_hears_of_it_and_who_leaves_makes_it() -> None:
    room, waiting, leaving = Room(), asyncio.Event(), asyncio.Event()
    room.enter(waiting)
    room.enter(leaving)
    room.hold(3)
    room.leave(leaving, held=3, attempted=0)
    assert waiting.is_set()
    assert room.held == 0
    assert room.share(10, 10) == 10
