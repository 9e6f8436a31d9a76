"""Devices and what became of pushes: what the statements do."""

import asyncio
import json
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from db import push
from db.pool import Connection, Pool
from db.push import Device, DeviceResult, DeviceStatus, Platform


@pytest.fixture
async def notification(producer: Connection) -> UUID:
    made = uuid4()
    await producer.execute(
        "INSERT INTO notify.outbox (notification_id, event_type, user_id, channels, payload) "
        "VALUES ($1, 'order.paid', 'ada', '{push}', $2)",
        made,
        json.dumps({}),
    )
    return made


async def registered(pool: Pool, token: str, user_id: str = "ada") -> Device:
    async with pool.acquire() as conn, conn.transaction():
        return await push.register(conn, user_id, Platform.FCM, token)


async def tokens(pool: Pool, user_id: str = "ada") -> list[str]:
    async with pool.acquire() as conn:
        return [device.token for device in await push.devices_of(conn, user_id)]


def result(notification: UUID, device: Device, status: DeviceStatus, attempt: int = 1) -> DeviceResult:
    return DeviceResult(notification, device.id, status, attempt, "fcm", reason="because")


async def test_whom_a_push_is_for(pool: Pool, notification: UUID) -> None:
    first, second = await registered(pool, "first"), await registered(pool, "second")
    await registered(pool, "other", "bob")
    async with pool.acquire() as conn:
        found = (await push.audiences(conn, "push", [notification, uuid4()]))[notification]
        assert (found.devices, found.reached, found.unread) == ([second, first], False, 0)
        await conn.execute(
            "INSERT INTO notify.inbox_counters (user_id, last_seq, unread) VALUES ('ada', 3, 2)"
        )
        results = [
            result(notification, first, DeviceStatus.DELIVERED),
            result(notification, second, DeviceStatus.RETRYING),
        ]
        await push.record(conn, "push", results)
        found = (await push.audiences(conn, "push", [notification]))[notification]
        assert (found.devices, found.reached, found.unread) == ([second], True, 2)
        other = (await push.audiences(conn, "another", [notification]))[notification]
        assert (len(other.devices), other.reached) == (2, False), "each channel has its own"


async def test_nobody_is_told_as_nobody(pool: Pool, notification: UUID) -> None:
    async with pool.acquire() as conn:
        found = await push.audiences(conn, "push", [notification])
        assert found[notification] == push.Audience([], reached=False, unread=0)


async def test_what_has_arrived_stays_so(pool: Pool, admin: Connection, notification: UUID) -> None:
    device = await registered(pool, "first")
    async with pool.acquire() as conn:
        for status, attempt in [
            (DeviceStatus.UNKNOWN, 1),
            (DeviceStatus.DELIVERED, 2),
            (DeviceStatus.RETRYING, 3),
        ]:
            await push.record(conn, "push", [result(notification, device, status, attempt)])
    row = await admin.fetchrow("SELECT * FROM notify.push_attempts")
    assert row is not None
    assert (row["status"], row["attempt"], row["provider"]) == ("delivered", 2, "fcm")


async def test_a_token_registered_again_is_not_forgotten(pool: Pool) -> None:
    dead, alive = await registered(pool, "dead"), await registered(pool, "alive")
    again = await registered(pool, "alive")
    assert again.id == alive.id
    async with pool.acquire() as conn:
        await push.forget(conn, [dead, alive])
        await push.forget(conn, [dead, alive])
    assert await tokens(pool) == ["alive"]


async def test_to_forget_waits_for_nobody(pool: Pool) -> None:
    device = await registered(pool, "dead")
    async with pool.acquire() as holder, pool.acquire() as conn, holder.transaction():
        await push.register(holder, "ada", Platform.FCM, "dead")
        async with asyncio.timeout(60):
            await push.forget(conn, [device])
    assert await tokens(pool) == ["dead"]


async def test_history_outlives_the_device_and_goes_with_the_notification(
    pool: Pool, admin: Connection, notification: UUID
) -> None:
    device = await registered(pool, "dead")
    async with pool.acquire() as conn, conn.transaction():
        await push.record(conn, "push", [result(notification, device, DeviceStatus.GONE)])
        await push.forget(conn, [device])
    assert await admin.fetchval("SELECT count(*) FROM notify.push_attempts") == 1
    await admin.execute("DELETE FROM notify.notifications")
    assert await admin.fetchval("SELECT count(*) FROM notify.push_attempts") == 0


async def test_the_newest_of_too_many(pool: Pool, admin: Connection, notification: UUID) -> None:
    """Rows of before there was a limit, or that another program has made."""
    await admin.execute(
        "INSERT INTO notify.device_tokens (user_id, platform, token, registered_at) "
        "SELECT 'ada', 'fcm', 't' || i, now() - i * $1::interval FROM generate_series(1, 150) i",
        timedelta(minutes=1),
    )
    async with pool.acquire() as conn:
        found = (await push.audiences(conn, "push", [notification]))[notification]
    assert [device.token for device in found.devices] == [f"t{i}" for i in range(1, push.DEVICES + 1)]
