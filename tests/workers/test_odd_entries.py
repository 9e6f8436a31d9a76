"""What plain SQL may write and a newer relay may add: it is delivered, or it fails where everybody can see it."""

import json
from uuid import UUID, uuid4

import pytest

from db import dead
from db.dead import Answer, Filter
from db.pool import Pool
from db.statements import load
from tests.workers.conftest import Road, eventually


async def relayed(road: Road, notification_id: UUID, **added: object) -> bytes:
    """Its entry, written as the relay writes it; `added` is what a newer one adds."""
    envelope: str = await road.admin.fetchval(
        f"SELECT {load('relay')['envelope']} FROM (SELECT n.*, id AS notification_id FROM notify.notifications n) n "
        "WHERE id = $1",
        notification_id,
    )
    if added:
        envelope = json.dumps(json.loads(envelope) | added)
    return await road.append({"envelope": envelope, "attempt": 0})


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    "columns",
    [{"payload": nested(40)}, {"payload": nested(190)}, {"payload": '{"n": 0.' + "1" * 5000 + "}"}],
    ids=["deep", "deeper", "digits"],
)
async def test_what_postgres_takes_is_delivered(road: Road, columns: dict[str, str]) -> None:
    notification_id = await road.notify(**columns)
    await relayed(road, notification_id)
    async with road.worker():
        await road.until(notification_id, "delivered")
        await road.until_empty()
    assert await road.admin.fetchval("SELECT count(*) FROM notify.inbox") == 1


async def test_a_field_that_a_newer_relay_adds_is_passed_over(road: Road) -> None:
    notification_id = await road.notify()
    await relayed(road, notification_id, added_later="x")
    async with road.worker():
        await road.until(notification_id, "delivered")


@pytest.mark.parametrize("payload", ['{"n": 1' + "0" * 5000 + "}", nested(1_200)], ids=["number", "depth"])
async def test_what_cannot_be_read_fails_where_everybody_sees_it(road: Road, payload: str) -> None:
    notification_id = await road.notify(payload=payload)
    entry_id = await relayed(road, notification_id)
    async with road.worker():
        await road.until(notification_id, "failed")
        await road.until_empty()
    ((event, detail),) = await road.events(notification_id)
    assert (event, detail["error_class"]) == ("failed", "undecodable")
    letter = await road.admin.fetchrow("SELECT * FROM notify.notifications_failed")
    assert letter is not None
    assert (letter["notification_id"], letter["entry_id"]) == (notification_id, entry_id.decode())
    assert str(notification_id) in json.loads(letter["raw"])["envelope"]


async def test_it_can_be_redriven(road: Road, pool: Pool) -> None:
    """Here by a worker that knows the version: the relay writes the entry anew."""
    notification_id = await road.notify()
    await relayed(road, notification_id, v=2)
    async with road.worker():
        await road.until(notification_id, "failed")
        await road.until_empty()
        async with pool.acquire() as connection, connection.transaction():
            (result,) = await dead.redrive(connection, Filter())
        assert result.answer is Answer.REDRIVEN
        assert await road.promote() == 1
        await road.until(notification_id, "delivered")


async def test_an_entry_whose_delivery_another_worker_holds_is_left_pending(road: Road) -> None:
    notification_id = await road.notify()
    await road.admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, lease_token, "
        "lease_until, worker) VALUES ($1, 'inapp', 'sending', 1, 8, $2, clock_timestamp() + interval '1 h', 'newer')",
        notification_id,
        uuid4(),
    )
    await relayed(road, notification_id, v=2)
    good = await road.send()
    stream = road.settings.keys.stream("inapp")
    async with road.worker(worker_lease=0.5):
        await road.until(good, "delivered")

        async def left() -> bool:
            return await road.redis.xlen(stream) == 1

        await eventually(left, "the good one is gone")
        assert await road.status(notification_id) == "sending"
        await road.admin.execute(
            "UPDATE notify.deliveries SET lease_until = clock_timestamp() - interval '1 s'"
        )
        await road.until(notification_id, "failed")
        await road.until_empty()
