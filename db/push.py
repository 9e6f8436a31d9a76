"""Devices and what became of a push on each of them (db/sql/push.sql)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from asyncpg import Record

from db.pool import Executor
from db.statements import load

SQL = load("push")

# A user's devices that are kept and sent to, the newest ones. More than anybody has in use.
DEVICES = 100


class Platform(StrEnum):
    """Whose token it is, as `notify.device_tokens` has it."""

    FCM = "fcm"
    APNS = "apns"


class DeviceStatus(StrEnum):
    """How the last attempt on a device ended, as `notify.push_attempts` has it."""

    DELIVERED = "delivered"
    RETRYING = "retrying"
    FAILED = "failed"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Device:
    """`registered_at`: when the app last said that this is its token."""

    id: UUID
    platform: Platform
    token: str = field(repr=False)
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a notification is for. `reached`: it is on some device already; `devices` are those it is not on.
    `unread`: the inbox's exact count."""

    devices: Sequence[Device]
    reached: bool
    unread: int


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """What an attempt came to on one device. Holds no token."""

    notification_id: UUID
    device_id: UUID
    status: DeviceStatus
    attempt: int
    provider: str
    message_id: str | None = None
    error_class: str | None = None
    reason: str | None = None


async def audiences(
    executor: Executor, channel: str, notification_ids: Sequence[UUID]
) -> dict[UUID, Audience]:
    """By notification. One that was erased is left out."""
    rows = await executor.fetch(SQL["devices"], channel, notification_ids, DEVICES)
    grouped: dict[UUID, list[Record]] = {}
    for row in rows:
        grouped.setdefault(row["notification_id"], []).append(row)
    return {notification_id: audience(rows) for notification_id, rows in grouped.items()}


def audience(rows: Sequence[Record]) -> Audience:
    return Audience(
        devices=[device(row) for row in rows if row["id"] is not None and not row["done"]],
        reached=rows[0]["reached"],
        unread=rows[0]["unread"],
    )


async def record(executor: Executor, channel: str, results: Sequence[DeviceResult]) -> None:
    await executor.execute(
        SQL["record"],
        channel,
        [result.notification_id for result in results],
        [result.device_id for result in results],
        [result.status for result in results],
        [result.attempt for result in results],
        [result.provider for result in results],
        [result.message_id for result in results],
        [result.error_class for result in results],
        [result.reason for result in results],
    )


async def forget(executor: Executor, devices: Iterable[Device]) -> None:
    """Those whose token is dead, unless it was registered again since these were read."""
    gone = list(devices)
    await executor.execute(SQL["forget"], [one.id for one in gone], [one.registered_at for one in gone])


async def register(executor: Executor, user_id: str, platform: Platform, token: str) -> Device:
    """Within a transaction: the device, confirmed or new; the user's oldest beyond DEVICES go."""
    row = await executor.fetchrow(SQL["register"], user_id, platform, token)
    assert row is not None
    await executor.execute(SQL["prune"], user_id, DEVICES)
    return device(row)


async def unregister(executor: Executor, user_id: str, tokens: Sequence[str]) -> None:
    await executor.execute(SQL["unregister"], user_id, tokens)


async def unregister_all(executor: Executor, user_id: str) -> None:
    await executor.execute(SQL["unregister_all"], user_id)


async def devices_of(executor: Executor, user_id: str) -> list[Device]:
    return [device(row) for row in await executor.fetch(SQL["devices_of"], user_id, DEVICES)]


def device(row: Record) -> Device:
    return Device(row["id"], Platform(row["platform"]), row["token"], row["registered_at"])
