"""Channels as rows: a running worker begins and ends their lanes as rows come and go."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest

from db.pool import Pool
from outbox.local.doubles.webhook import Receiver
from outbox.service import Stop
from tests.workers.conftest import Road, eventually
from tests.workers.hooks import ALLOW, SECRET, lead, receiver
from workers.follow import LOOK_SECONDS, Fleet, Shard, moves


@pytest.fixture
async def far(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    async with receiver() as made:
        yield made


A, A1, B, C = Shard("a", 0), Shard("a", 1), Shard("b", 0), Shard("c", 0)


@pytest.mark.parametrize(
    ("running", "wanted", "end", "begin"),
    [
        ({}, {A: "webhook"}, [], [A]),
        ({A: "webhook"}, {A: "webhook"}, [], []),
        ({A: "webhook"}, {}, [A], []),
        ({A: "webhook"}, {A: "email"}, [A], []),
        ({A: "webhook", B: "webhook"}, {B: "webhook", C: "webhook"}, [A], [C]),
        ({A: "webhook"}, {A: "webhook", A1: "webhook"}, [], [A1]),
    ],
    ids=["first", "none", "gone", "another kind", "one for another", "one more shard"],
)
def test_moves(
    running: dict[Shard, str], wanted: dict[Shard, str], end: list[Shard], begin: list[Shard]
) -> None:
    assert moves(running, wanted) == (end, begin)


async def test_a_worker_is_unready_until_it_has_looked_which_channels_there_are(pool: Pool) -> None:
    """Else the one before it is stopped while nobody works."""
    begun: list[str] = []

    async def work(shard: Shard, _: str, stop: Stop) -> None:
        begun.append(shard.channel)
        await stop.asked.wait()

    async def none(_: Sequence[Shard]) -> list[Shard]:
        return []

    fleet, stop = Fleet(pool, work, none, lambda _, kind: kind == "inapp"), Stop()
    assert fleet.check() == "it is not known yet which channels there are"
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(fleet.run(stop))
        await eventually(lambda: ready(fleet), "it has looked")
        assert begun == ["inapp"]
        stop.ask()


async def ready(fleet: Fleet) -> bool:
    return fleet.check() is None


def test_a_look_a_second() -> None:
    assert LOOK_SECONDS == 1


async def test_a_channel_added_by_sql_is_worked_on(road: Road, far: Receiver) -> None:
    async with road.all_workers(**ALLOW):
        await road.until(await road.send(), "delivered")  # the worker is up, with the channels it has found
        await lead(road, far.double.url, channel="billing-hooks")
        notification_id = await road.send("billing-hooks")
        await far.double.box.wait(1)
        await road.until(notification_id, "delivered", "billing-hooks")
    assert far.double.box.messages[0].id == str(notification_id)


async def test_all_but_those_left_out_are_worked_on(road: Road, far: Receiver) -> None:
    await lead(road, far.double.url, channel="added-later")
    left = await road.send()
    async with road.workers((), ALLOW, left_out=["inapp", "email"]):
        await road.until(await road.send("added-later"), "delivered", "added-later")
        groups = await road.redis.xinfo_stream(road.settings.keys.stream("inapp"))
        assert groups["length"] == 1, "somebody else's work"
    async with road.workers(["inapp"], {}):
        await road.until(left, "delivered")


async def test_a_channel_that_is_removed_loses_its_lanes(road: Road, far: Receiver) -> None:
    await lead(road, far.double.url, channel="short-lived")
    stream = road.settings.keys.stream("short-lived")

    async def consumers() -> int:
        if not await road.redis.exists(stream):
            return 0
        groups = await road.redis.xinfo_groups(stream)
        return int(groups[0]["consumers"])

    async def at_work() -> bool:
        return await consumers() == 1

    async def gone() -> bool:
        return await consumers() == 0

    async with road.all_workers(**ALLOW):
        await eventually(at_work, "a worker reads the channel's stream")
        await road.admin.execute("DELETE FROM notify.channels WHERE name = 'short-lived'")
        await eventually(gone, "the worker has left it")
        await road.until(await road.send(), "delivered")  # and works on
        await lead(road, far.double.url, channel="short-lived")
        await road.until(await road.send("short-lived"), "delivered", "short-lived")


async def test_a_channel_that_is_switched_off_runs_dry(road: Road, far: Receiver) -> None:
    await lead(road, far.double.url, channel="quiet")
    await road.admin.execute("UPDATE notify.channels SET enabled = false WHERE name = 'quiet'")
    async with road.all_workers(**ALLOW):
        notification_id = await road.send("quiet")
        await road.until(notification_id, "suppressed", "quiet")
        await road.until_empty("quiet")
        await road.admin.execute("UPDATE notify.channels SET enabled = true WHERE name = 'quiet'")
        await road.until(await road.send("quiet"), "delivered", "quiet")
    assert far.double.box.total == 1


async def test_a_worker_of_one_channel_leaves_the_others_alone(road: Road, far: Receiver) -> None:
    await lead(road, far.double.url, channel="other-hooks")
    async with road.worker("webhook", **ALLOW):
        await lead(road, far.double.url)
        waiting = await road.send("other-hooks")
        await road.until(await road.send("webhook"), "delivered", "webhook")
        assert await road.status(waiting, "other-hooks") is None


async def test_a_name_without_a_row_is_waited_for(road: Road, far: Receiver) -> None:
    async with road.worker("later-hooks", **ALLOW):
        await lead(road, far.double.url, channel="later-hooks")
        await road.until(await road.send("later-hooks"), "delivered", "later-hooks")


async def test_a_channel_that_nobody_works_on_is_said_once(
    road: Road, capsys: pytest.CaptureFixture[str]
) -> None:
    """From before such a row was refused."""
    await road.admin.execute("ALTER TABLE notify.channels DISABLE TRIGGER USER")
    await road.admin.execute("INSERT INTO notify.channels (name, kind) VALUES ('mail-two', 'email')")
    await road.admin.execute("ALTER TABLE notify.channels ENABLE TRIGGER USER")
    async with road.all_workers():
        await road.until(await road.send(), "delivered")
        await lead(road, "https://hooks.example", channel="new")  # another look is made
        await road.until(
            await road.send("new", expires_at=datetime(2020, 1, 1, tzinfo=UTC)), "expired", "new"
        )
    assert capsys.readouterr().out.count("worker.channel_unworkable") == 1
