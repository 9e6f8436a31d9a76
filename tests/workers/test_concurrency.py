"""A lane finds by itself how many messages its provider serves at once, keeps to that, and notices a change."""

import asyncio
import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from workers.common import Common
from workers.concurrency import Concurrency, paced, tells
from workers.outcome import Delivered, LeaseShort, Outcome, Permanent, Throttled, Transient, Unknown
from workers.providers import Providers

CEILING = 64


@dataclass
class Queueing:
    """A provider that serves so many at a time and lets the others wait, in a time of its own. `pace` is used up."""

    pace: Concurrency
    served: int
    seconds: float = 0.05
    noise: float = 0.1
    now: float = 0.0
    free: list[float] = field(default_factory=list)
    under_way: list[tuple[float, float, int]] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    def serve(self, served: int, seconds: float = 0.05) -> None:
        self.served, self.seconds, self.free = served, seconds, []

    def run(self, messages: int) -> list[int]:
        """The limit after each answer."""
        limits = []
        for _ in range(messages):
            while self.pace.under_way < self.pace.limit:
                self.begin()
            self.pace.wanted = True
            ends, began_at, phase = heapq.heappop(self.under_way)
            self.now = ends
            self.pace.ended(phase, ends - began_at)
            limits.append(self.pace.limit)
        return limits

    def begin(self) -> None:
        phase = self.pace.began()
        starts = max(self.now, heapq.heappop(self.free)) if len(self.free) >= self.served else self.now
        ends = starts + self.seconds * self.dice.uniform(1 - self.noise, 1 + self.noise)
        heapq.heappush(self.free, ends)
        heapq.heappush(self.under_way, (ends, self.now, phase))


def middle(limits: Sequence[int]) -> int:
    return sorted(limits)[len(limits) // 2]


@pytest.mark.parametrize("served", [2, 4, 8, 16, 32])
def test_it_settles_a_little_above_what_is_served(served: int) -> None:
    far = Queueing(Concurrency(CEILING), served)
    far.run(5_000)
    began_at, limits = far.now, far.run(10_000)
    assert served <= middle(limits) <= 1.5 * served + 5
    assert sorted(limits)[9_900] <= 2 * served + 5, "it does not swing"
    possible = served / far.seconds
    assert 10_000 / (far.now - began_at) > 0.93 * possible, "and the far side has always enough to do"


@pytest.mark.parametrize("noise", [0.1, 0.6])
def test_one_that_serves_all_at_once_gets_all_there_may_be(noise: float) -> None:
    far = Queueing(Concurrency(CEILING), 200, noise=noise)
    assert middle(far.run(20_000)[5_000:]) > 0.75 * CEILING


def test_it_follows_what_changes() -> None:
    far = Queueing(Concurrency(CEILING), 32)
    far.run(8_000)
    far.serve(8)
    assert middle(far.run(8_000)[4_000:]) < 18
    far.serve(32)
    assert middle(far.run(12_000)[6_000:]) >= 32


def test_answers_that_take_longer_for_good_are_no_queue() -> None:
    far = Queueing(Concurrency(CEILING), 200)
    far.run(8_000)
    far.serve(200, seconds=0.4)
    assert middle(far.run(12_000)[6_000:]) > 0.75 * CEILING


def test_little_to_do_teaches_nothing() -> None:
    pace = Concurrency(CEILING)
    for seconds in [0.1, 5.0] * 500:
        pace.ended(pace.began(), seconds)
    assert pace.limit == 8


@pytest.mark.parametrize("ceiling", [1, 2, 5])
def test_the_ceiling_holds_and_there_is_always_one(ceiling: int) -> None:
    far = Queueing(Concurrency(ceiling), 1)
    assert {limit for limit in far.run(3_000) if not 1 <= limit <= ceiling} == set()


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Delivered("m"), True),
        (Permanent("bad", "no"), True),
        (Unknown("silence"), True),
        (Throttled("too much"), False),
        (Transient("connect", "refused"), False),
        (LeaseShort(), False),
        (None, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_which_answers_tell_how_busy_the_far_side_is(outcome: Outcome | None, told: bool) -> None:
    assert tells(outcome) is told


async def test_what_is_cancelled_is_no_longer_under_way() -> None:
    pace, begun = Concurrency(CEILING), asyncio.Event()

    async def hanging() -> Outcome:
        begun.set()
        await asyncio.Event().wait()
        return LeaseShort()

    task = asyncio.create_task(paced(pace, hanging()))
    await begun.wait()
    assert pace.under_way == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pace.under_way == 0


@dataclass
class Broken:
    name: str

    async def send(self, _: str) -> Outcome:
        return Transient("auth", "401")

    async def close(self) -> None: ...


async def test_the_provider_that_is_asked_next_says_how_many() -> None:
    first, second = Broken("a"), Broken("b")
    providers = Providers([first, second], Common("sms"), 5).paced(CEILING)
    assert Providers([first], Common("sms"), 5).pace() is None
    assert providers.pace() is providers.paces["a"]
    await providers.send("hello")  # both circuits open at once
    providers.common.circuit("b").state = providers.common.circuit("fresh").state
    assert providers.pace() is providers.paces["b"]
