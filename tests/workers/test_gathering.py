"""Gathering: what comes together travels together, and nobody waits for long or gets another's result."""

import asyncio
from collections.abc import Sequence

import pytest

from workers.gathering import LONGEST_SECONDS, QUIET_SECONDS, Coming, Gathering


class Sender:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, messages: Sequence[int]) -> list[int]:
        self.batches.append(list(messages))
        self.begun.set()
        await self.gate.wait()
        if 13 in messages:
            raise RuntimeError("no thirteen")
        return [message * 10 for message in messages]


async def test_together() -> None:
    sender = Sender()
    gathering = Gathering(sender.send, 100)
    assert await asyncio.gather(*(gathering.add(number) for number in range(5))) == [0, 10, 20, 30, 40]
    assert sender.batches == [[0, 1, 2, 3, 4]]


async def test_a_full_batch_departs_at_once() -> None:
    sender = Sender()
    gathering = Gathering(sender.send, 2)
    await asyncio.gather(*(gathering.add(number) for number in range(5)))
    assert sender.batches == [[0, 1], [2, 3], [4]]


async def test_a_trickle_does_not_hold_back_the_first() -> None:
    sender = Sender()
    gathering = Gathering(sender.send, 10_000)
    first = asyncio.create_task(gathering.add(1))
    others = []
    while not first.done():
        others.append(asyncio.create_task(gathering.add(2)))
        await asyncio.sleep(0.001)  # the trickle
        assert len(others) < 20_000 * LONGEST_SECONDS, "it would wait for as long as somebody comes"
    await asyncio.gather(*others)


async def test_it_waits_for_those_who_are_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.gathering.LONGEST_SECONDS", 60.0)
    sender, coming = Sender(), Coming(1)
    gathering = Gathering(sender.send, 100, coming)
    first = asyncio.create_task(gathering.add(1))
    await asyncio.sleep(QUIET_SECONDS * 4)  # a quiet time, but one is being written
    assert sender.batches == []
    second = asyncio.create_task(gathering.add(2))
    coming.number = 0
    assert (await first, await second) == (10, 20)
    assert sender.batches == [[1, 2]]


async def test_those_behind_one_on_its_way_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.gathering.LONGEST_SECONDS", 60.0)
    sender = Sender()
    sender.gate.clear()
    gathering = Gathering(sender.send, 100)
    first = asyncio.create_task(gathering.add(1))
    await sender.begun.wait()
    others = []
    for number in (2, 3, 4):
        others.append(asyncio.create_task(gathering.add(number)))
        await asyncio.sleep(QUIET_SECONDS * 4)
    assert sender.batches == [[1]]
    sender.gate.set()
    assert await asyncio.gather(first, *others) == [10, 20, 30, 40]
    assert sender.batches == [[1], [2, 3, 4]]


async def test_one_that_hangs_holds_up_the_others_for_a_moment_only() -> None:
    sender = Sender()
    sender.gate.clear()
    gathering = Gathering(sender.send, 100)
    first = asyncio.create_task(gathering.add(1))
    await sender.begun.wait()
    sender.begun.clear()
    second = asyncio.create_task(gathering.add(2))
    async with asyncio.timeout(60):
        await sender.begun.wait()
    sender.gate.set()
    assert (await first, await second) == (10, 20)


async def test_it_does_not_wait_for_ever() -> None:
    sender = Sender()
    gathering = Gathering(sender.send, 100, Coming(5))
    assert await asyncio.wait_for(gathering.add(1), 60) == 10


async def test_an_error_is_everybodys() -> None:
    gathering = Gathering(Sender().send, 100)
    results = await asyncio.gather(gathering.add(1), gathering.add(13), return_exceptions=True)
    assert [str(result) for result in results] == ["no thirteen", "no thirteen"]


async def test_who_gives_up_leaves_the_others_theirs() -> None:
    sender = Sender()
    sender.gate.clear()
    gathering = Gathering(sender.send, 2)
    one, two = asyncio.create_task(gathering.add(1)), asyncio.create_task(gathering.add(2))
    await asyncio.sleep(0)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    sender.gate.set()
    assert await two == 20


async def test_who_gives_up_in_time_does_not_travel() -> None:
    sender = Sender()
    gathering = Gathering(sender.send, 100)
    one, two = asyncio.create_task(gathering.add(1)), asyncio.create_task(gathering.add(2))
    await asyncio.sleep(0)
    one.cancel()
    assert await two == 20
    assert sender.batches == [[2]]


async def test_close_sends_what_has_gathered() -> None:
    sender = Sender()
    gathering = Gathering(sender.send, 100)
    one = asyncio.create_task(gathering.add(1))
    await asyncio.sleep(0)
    await gathering.close()
    assert one.done() or await one == 10
    assert sender.batches == [[1]]
