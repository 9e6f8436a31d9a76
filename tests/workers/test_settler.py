"""Settling: one bad result harms only itself, and what is committed is acknowledged in the end."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import structlog
from prometheus_client import REGISTRY
from redis.exceptions import ConnectionError as RedisConnectionError

from db import delivery
from db.delivery import Claimant, Settlement, Status
from db.pool import Pool
from outbox.streams import GROUP
from tests.workers.conftest import Road
from workers import metrics
from workers.counting import count
from workers.entries import Entry, decode
from workers.inapp import InApp
from workers.job import Job, Settled
from workers.main import connect
from workers.reader import Reader, Source
from workers.settler import Settler


async def claimed(road: Road, pool: Pool, user_id: str = "ada") -> Job:
    """One entry, read and claimed as a runner does it."""
    notification_id = await road.send(user_id=user_id)
    stream = road.settings.keys.stream("inapp")
    if not await road.redis.xinfo_groups(stream):
        await road.redis.xgroup_create(stream, GROUP, id="0")
    source = Source(stream, "me", lease_seconds=60)
    (raw,) = await Reader(road.nodes, source).read(1)
    entry = decode(raw)
    assert isinstance(entry, Entry)
    who = Claimant("inapp", "me", uuid4(), 60, contacts=False)
    async with pool.acquire() as connection:
        (claim,) = await delivery.claim(connection, who, [notification_id], [0])
    return Job(entry, claim, who.token, time.monotonic() + 60)


def settled(job: Job, status: Status = Status.DELIVERED, reason: str | None = None) -> Settled:
    return Settled(job, Settlement(job.entry.notification_id, job.token, status, status, 1, reason=reason))


@pytest.fixture
def settler(road: Road, pool: Pool) -> Settler:
    return Settler(pool, road.nodes, InApp(road.settings.keys, 100), road.settings.keys.stream("inapp"))


async def test_one_bad_result_harms_only_itself(road: Road, pool: Pool, settler: Settler) -> None:
    """A place in the inbox that is taken, as only a hand in the tables can make it; a reason that cannot be stored."""
    released: list[bytes] = []
    settler.release = released.extend
    jobs = [await claimed(road, pool, user_id) for user_id in ("ada", "bob", "eve", "ada", "ada")]
    taken = await road.notify(user_id="bob")
    await road.admin.execute(
        "INSERT INTO notify.inbox (user_id, seq, notification_id) VALUES ('bob', 1, $1)", taken
    )
    for job in jobs[:3]:
        settler.add(settled(job))
    settler.add(settled(jobs[3], Status.SUPPRESSED, "Postgres cannot hold \x00"))
    settler.add(settled(jobs[4], Status.SUPPRESSED, "switched off"))
    await settler.flush()
    states = [await road.status(job.entry.notification_id) for job in jobs]
    assert states == ["delivered", "sending", "delivered", "sending", "suppressed"]
    assert sorted(released) == sorted(job.entry.id for job in jobs)
    assert await road.redis.xlen(settler.stream) == 2, "the bad ones are left pending"


async def test_a_commit_is_acknowledged_once_redis_is_back(road: Road, pool: Pool, settler: Settler) -> None:
    job = await claimed(road, pool)
    there, settler.nodes = settler.nodes, connect("redis://127.0.0.1:1")
    settler.add(settled(job))
    with pytest.raises(RedisConnectionError):
        await settler.flush()
    assert await road.status(job.entry.notification_id) == "delivered"
    assert await road.redis.xlen(settler.stream) == 1
    await settler.nodes.aclose()
    settler.nodes = there
    await settler.flush()
    assert await road.redis.xlen(settler.stream) == 0
    assert await road.admin.fetchval("SELECT count(*) FROM notify.inbox") == 1


async def test_the_same_result_again_changes_nothing(road: Road, pool: Pool, settler: Settler) -> None:
    """As after a commit whose reply was lost."""
    job, withdrawn = await claimed(road, pool), await claimed(road, pool)
    for _ in range(2):
        settler.add(settled(job))
        settler.add(settled(withdrawn, Status.CANCELED))
        await settler.flush()
    assert await road.admin.fetchval("SELECT unread FROM notify.inbox_counters") == 1
    for one, event in ((job, "delivered"), (withdrawn, "canceled")):
        assert [told for told, _ in await road.events(one.entry.notification_id)] == [event]


def value(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None, "counted from the beginning: no increase is seen in a series' first sample"
    return found


async def test_seconds_run_from_creation_or_from_the_time_asked_for(road: Road, pool: Pool) -> None:
    metrics.begin("test-a")
    job = await claimed(road, pool)
    envelope = job.entry.envelope.model_copy(update={"created_at": datetime.now(UTC) - timedelta(hours=3)})
    late = envelope.model_copy(update={"deliver_at": datetime.now(UTC) - timedelta(minutes=1)})
    count(
        [settled(replace(job, entry=replace(job.entry, envelope=one))) for one in (envelope, late)], "test-a"
    )
    assert value("notification_processing_seconds_count", channel="test-a") == 2
    assert value("notification_processing_seconds_sum", channel="test-a") == pytest.approx(
        3 * 3600 + 60, abs=30
    )


async def test_dead_letters_are_counted(road: Road, pool: Pool) -> None:
    metrics.begin("test-b")
    assert value("outbox_worker_dead_letters_total", channel="test-b") == 0
    assert value("notifications_processed_total", channel="test-b", status="failed") == 0
    job = settled(await claimed(road, pool), Status.FAILED)
    with structlog.testing.capture_logs():
        count([replace(job, settlement=job.settlement._replace(dead=True))], "test-b")
    assert value("outbox_worker_dead_letters_total", channel="test-b") == 1
    assert value("notifications_processed_total", channel="test-b", status="failed") == 1
