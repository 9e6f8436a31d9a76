"""Claims under which nothing was sent: they are given back, so that nobody takes them for lost attempts."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from uuid import UUID

import pytest

from db.delivery import Claim
from db.pool import Executor, Pool
from outbox.service import Stop
from tests.workers.conftest import Road, eventually
from workers.claiming import Lane
from workers.decide import Rules
from workers.inapp import InApp
from workers.main import connect
from workers.outcome import Outcome
from workers.reader import Reader, Source
from workers.retry import Backoff
from workers.runner import Runner
from workers.settler import Settler


class Outward(InApp):
    """A channel whose lost attempts are held for a person. It delivers nothing while it is `broken`, and makes no
    attempt where the lease is shorter than its `budget`."""

    outward = True
    budget = 0.0
    broken = False
    poison: UUID | None = None  # none of a batch that holds it can be prepared

    async def prepare(self, executor: Executor, claims: Sequence[Claim]) -> None:
        if self.poison in {claim.notification_id for claim in claims}:
            raise ValueError("a bug, or a row that nobody can read")
        if self.broken:
            raise ConnectionError("the claim is made, but its answer is lost")


@pytest.fixture
async def channel(road: Road) -> Outward:
    await road.admin.execute("UPDATE notify.channels SET on_unknown = 'hold'")
    return Outward(road.settings.keys, 10)


async def work(road: Road, pool: Pool, channel: Outward, stop: Stop) -> None:
    """One runner of one lane until it is stopped."""
    source = Source(road.settings.keys.stream("inapp"), "me", lease_seconds=1)
    rules = Rules(Backoff(1, 1), outward=True, needs_contact=False)
    async with aclosing(connect(road.settings.redis)) as own:
        lane = Lane("normal", channel, rules, pool, Reader(own, source))
        await Runner(lane, Settler(pool, road.nodes, channel, source.stream), grace=8).run(stop)


async def test_a_lease_too_short_costs_nothing(road: Road, pool: Pool, channel: Outward) -> None:
    channel.budget = 100.0
    notification_id, stop = await road.send(), Stop()
    working = asyncio.create_task(work(road, pool, channel, stop))
    await road.until(notification_id, "pending")
    row = await road.delivery(notification_id)
    assert row is not None
    assert (row["attempts"], row["lease_token"], row["lease_until"]) == (0, None, None)
    channel.budget = 0.0
    await road.until(notification_id, "delivered")
    stop.ask()
    await working
    assert [event for event, _ in await road.events(notification_id)] == ["delivered"], (
        "nothing was taken over"
    )


@pytest.mark.parametrize("cut_short", [False, True])
async def test_a_claim_whose_answer_is_lost_is_given_back_at_the_end(
    road: Road, pool: Pool, channel: Outward, cut_short: bool
) -> None:
    channel.broken = True
    notification_id, stop = await road.notify(), Stop()
    for _ in range(2):  # the same one twice: one claim, and an entry that is only left
        await road.entry(notification_id)
    working = asyncio.create_task(work(road, pool, channel, stop))
    await road.until(notification_id, "sending")
    if cut_short:
        working.cancel()
        await asyncio.wait({working})
    else:
        stop.ask()
        await working
    row = await road.delivery(notification_id)
    assert row is not None
    assert (row["status"], row["attempts"], row["lease_token"]) == ("pending", 0, None)
    assert await road.redis.xlen(road.settings.keys.stream("inapp")) == 2
    channel.broken, stop = False, Stop()
    working = asyncio.create_task(work(road, pool, channel, stop))
    await road.until(notification_id, "delivered")
    await road.until_empty()
    stop.ask()
    await working
    assert [event for event, _ in await road.events(notification_id)] == ["delivered"]


async def test_a_take_over_given_back_is_held_all_the_same(road: Road, pool: Pool, channel: Outward) -> None:
    """How the attempt of the worker before ended is not known."""
    channel.broken = True
    notification_id, stop = await road.send(), Stop()
    await road.admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, lease_token, "
        "lease_until, worker) VALUES ($1, 'inapp', 'sending', 1, 8, gen_random_uuid(), now() - interval '1 s', 'dead')",
        notification_id,
    )
    working = asyncio.create_task(work(road, pool, channel, stop))

    async def claimed() -> bool:
        row = await road.delivery(notification_id)
        return row is not None and row["worker"] == "me"

    await eventually(claimed, "it is claimed")
    stop.ask()
    await working
    assert await road.status(notification_id) == "sending"
    channel.broken, stop = False, Stop()
    working = asyncio.create_task(work(road, pool, channel, stop))
    await road.until(notification_id, "unknown")
    stop.ask()
    await working


async def test_one_that_cannot_be_prepared_does_not_hold_up_its_neighbours(
    road: Road, pool: Pool, channel: Outward
) -> None:
    """It ends as a dead letter once its attempts are used up; the others are delivered in the first one."""
    await road.admin.execute("UPDATE notify.channels SET max_attempts = 1")
    sent = [await road.send() for _ in range(9)]
    channel.poison, stop = sent[4], Stop()
    working = asyncio.create_task(work(road, pool, channel, stop))
    for notification_id in sent:
        await road.until(notification_id, "failed" if notification_id == channel.poison else "delivered")
    await road.until_empty()
    stop.ask()
    await working
    (row,) = await road.admin.fetch("SELECT notification_id, error_class FROM notify.notifications_failed")
    assert tuple(row) == (channel.poison, "internal")
    events = await road.admin.fetchval("SELECT count(*) FROM notify.delivery_events")
    assert events == len(sent), "no claim was made twice"


async def test_an_outcome_that_cannot_be_judged_is_told_and_frees_its_place(
    road: Road, pool: Pool, channel: Outward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it lost, its entry would be held for as long as this worker lives."""

    def overflow(*_: object) -> None:
        raise OverflowError

    monkeypatch.setattr("workers.runner.in_time", overflow)
    notification_id, stop = await road.send(), Stop()
    working = asyncio.create_task(work(road, pool, channel, stop))
    await road.until(notification_id, "retrying")
    await road.until_empty()
    stop.ask()
    await working
    [(_, detail)] = await road.events(notification_id)
    assert (detail["error_class"], detail["reason"]) == ("internal", "the worker failed: OverflowError")


async def test_an_attempt_that_a_library_cancels_frees_its_place(
    road: Road, pool: Pool, channel: Outward, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(_: object) -> Outcome:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future
        raise AssertionError

    monkeypatch.setattr(channel, "attempt", cancelled)
    notification_id, stop = await road.send(), Stop()
    working = asyncio.create_task(work(road, pool, channel, stop))
    await road.until(notification_id, "retrying")
    await road.until_empty()
    stop.ask()
    await working
