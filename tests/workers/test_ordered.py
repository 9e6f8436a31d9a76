"""Ordered endpoints: strict order, one at a time, through failures, across workers, and past a worker that died."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from outbox.local.doubles.faults import Kind
from outbox.local.doubles.webhook import Receiver
from tests.conftest import Database
from tests.workers.conftest import Road, eventually
from tests.workers.hooks import ALLOW, SECRET, lead, receiver
from workers.circuit import Limits
from workers.reader import Reader, Source

QUICK: dict[str, Any] = ALLOW | {"retry_base": 0.02, "retry_cap": 0.05}
# An attempt begins only while half of its lease is left: of the two seconds that tests have, a busy machine takes one
# to get there, and nothing would ever be sent.
PATIENT = QUICK | {"worker_lease": 30}


@pytest.fixture
async def far(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setattr("workers.turns.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("workers.endpoints.LIMITS", Limits(in_a_row=50, enough=100))
    async with receiver() as made:
        yield made


@asynccontextmanager
async def promoting(road: Road, database: Database) -> AsyncIterator[None]:
    """The relay's part, all the while, on a connection of its own."""
    connection = await asyncpg.connect(database.admin)
    relay = replace(road, admin=connection)

    async def go_on() -> None:
        while True:
            await relay.promote()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        connection.terminate()


async def arrived(far: Receiver, number: int) -> list[str]:
    return [message.id for message in await far.double.box.wait(number)]


def texts(ids: list[UUID]) -> list[str]:
    return [str(each) for each in ids]


async def test_order_is_kept_through_failures_and_by_two_workers(
    road: Road, far: Receiver, database: Database
) -> None:
    await lead(road, far.double.url, ordered=True)
    await road.admin.execute("UPDATE notify.channels SET max_attempts = 100 WHERE name = 'webhook'")
    far.double.menu.order(Kind.ANSWER, times=None, share=0.3, status=500)
    far.double.menu.order(Kind.RESET, times=None, share=0.1)
    async with (
        promoting(road, database),
        road.worker("webhook", **PATIENT),
        road.worker("webhook", **PATIENT),
    ):
        sent = [await road.send("webhook") for _ in range(20)]
        assert await arrived(far, 20) == texts(sent)
    assert far.double.menu.served > 2, "some did fail"


async def test_without_ordering_a_failed_one_is_overtaken(
    road: Road, far: Receiver, database: Database
) -> None:
    """So that the test above can fail."""
    await lead(road, far.double.url)
    far.double.menu.order(Kind.ANSWER, status=500)
    async with promoting(road, database), road.worker("webhook", **QUICK, worker_concurrency=1):
        sent = [await road.send("webhook") for _ in range(5)]
        assert await arrived(far, 5) != texts(sent)


async def test_a_failed_one_holds_up_its_endpoint(road: Road, far: Receiver, database: Database) -> None:
    await lead(road, None, ordered=True)
    await road.admin.executemany(
        "INSERT INTO notify.webhook_endpoints (channel, user_id, url) VALUES ('webhook', $1, $2)",
        [("ada", f"{far.double.url}/ada"), ("bob", f"{far.double.url}/bob")],
    )
    await road.admin.execute("UPDATE notify.channels SET max_attempts = 3 WHERE name = 'webhook'")
    far.double.menu.order(Kind.ANSWER, times=3, status=500, path="/ada")
    async with promoting(road, database), road.worker("webhook", **QUICK):
        first, second = await road.send("webhook"), await road.send("webhook")
        other = await road.send("webhook", user_id="bob")
        assert set(await arrived(far, 2)) == {str(second), str(other)}
        await road.until(second, "delivered", "webhook")
        assert await road.status(first, "webhook") == "failed"
    events = await road.events(second)
    assert [event for event, _ in events][-1] == "delivered"
    assert {detail["error_class"] for event, detail in events if event == "deferred"} <= {"waits_its_turn"}
    row = await road.delivery(second, "webhook")
    assert row is not None
    assert row["attempts"] == 1, "waiting counts as no attempt"


async def test_one_that_another_has_only_read_is_waited_for(
    road: Road, far: Receiver, database: Database
) -> None:
    """A worker that reads an entry and dies before it claims: what comes behind must not go first."""
    await lead(road, far.double.url, ordered=True)
    first = await road.send("webhook")
    dead = Reader(road.nodes, Source(road.settings.keys.stream("webhook"), "dead", lease_seconds=2))
    await dead.make_group()
    assert len(await dead.read(1)) == 1
    second = await road.send("webhook")
    async with promoting(road, database), road.worker("webhook", **QUICK, worker_lease=2):
        assert await arrived(far, 2) == texts([first, second])


async def test_one_that_died_with_its_turn_is_waited_for(
    road: Road, far: Receiver, database: Database
) -> None:
    await lead(road, far.double.url, ordered=True, timeout_seconds=1)
    far.double.menu.order(Kind.HANG)
    first, second = await road.send("webhook"), await road.send("webhook")
    async with promoting(road, database):
        async with road.worker("webhook", **QUICK, worker_lease=2, shutdown_grace=0.2):

            async def held() -> bool:
                return bool(await road.admin.fetchval("SELECT count(*) FROM notify.endpoint_turns"))

            await eventually(held, "the first has its turn")
        async with road.worker("webhook", **QUICK, worker_lease=2):
            assert await arrived(far, 2) == texts([first, second])


async def test_quiet_hours_keep_the_place_of_what_they_put_off(
    road: Road, far: Receiver, database: Database
) -> None:
    """It was overtaken: it was put off before it had a place."""
    await lead(road, far.double.url, ordered=True)
    await road.admin.execute(
        "INSERT INTO notify.user_channel_prefs (user_id, channel, event_type, constraints) "
        "VALUES ('ada', 'webhook', 'order.late', $1)",
        json.dumps({"quiet_hours": {"from": "00:00", "to": "23:59"}}),
    )
    async with promoting(road, database), road.worker("webhook", **QUICK):
        first = await road.send("webhook", event_type="order.late")
        await road.until(first, "deferred", "webhook")
        second = await road.send("webhook")
        await road.until(second, "deferred", "webhook")
        await road.admin.execute("DELETE FROM notify.user_channel_prefs")
        await road.admin.execute("UPDATE notify.scheduled SET due_at = now() WHERE reason = 'quiet_hours'")
        assert await arrived(far, 2) == texts([first, second])
    assert (await road.events(first))[0][1]["reason"].startswith("quiet hours")


async def test_nothing_is_left_in_the_queue_but_the_last(
    road: Road, far: Receiver, database: Database
) -> None:
    await lead(road, far.double.url, ordered=True)
    async with promoting(road, database), road.worker("webhook", **QUICK):
        sent = [await road.send("webhook") for _ in range(10)]
        await arrived(far, 10)
        await road.until(sent[-1], "delivered", "webhook")
        await road.until_empty("webhook")
    assert await road.admin.fetchval("SELECT count(*) FROM notify.endpoint_queue") == 0
    assert await road.admin.fetchval("SELECT count(*) FROM notify.endpoint_turns") == 0


async def test_a_secret_that_is_not_set_costs_no_order(
    road: Road, far: Receiver, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lead(road, far.double.url, ordered=True, headers={"X-Key": "env:LATE"})
    async with promoting(road, database), road.worker("webhook", **QUICK):
        sent = [await road.send("webhook") for _ in range(5)]
        await road.until(sent[0], "retrying", "webhook")
        monkeypatch.setenv("LATE", "here")
        await lead(road, far.double.url, ordered=True, headers={"X-Key": "env:LATE"}, method="PUT")
        assert await arrived(far, 5) == texts(sent)
