"""Reads about notifications: what came first under a key, and how far one has come."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from db.pool import Executor
from db.statements import load

SQL = load("notifications")


async def ids_of_keys(conn: Executor, keys: Iterable[str]) -> dict[str, UUID]:
    """The first notification of each dedup_key that is taken."""
    return {row["dedup_key"]: row["id"] for row in await conn.fetch(SQL["ids_of_keys"], list(keys))}


async def known_channels(conn: Executor) -> list[str]:
    """The names of all channels, enabled or not."""
    return [row["name"] for row in await conn.fetch(SQL["known_channels"])]


async def known_templates(conn: Executor, names: Iterable[str]) -> set[str]:
    """Those of the names that have a template."""
    return {row["name"] for row in await conn.fetch(SQL["known_templates"], list(names))}


async def ping(conn: Executor) -> None:
    """Returns if Postgres answers."""
    await conn.execute(SQL["ping"])


async def status(conn: Executor, notification_id: UUID) -> asyncpg.Record | None:
    """The notification with its `deliveries`, `events`, `scheduled` and `devices` (JSON arrays), or None."""
    return await conn.fetchrow(SQL["status"], notification_id)


@dataclass(frozen=True, slots=True)
class Stopped:
    """What cancelling did on one channel: whether nothing will be sent by it."""

    channel: str
    status: str
    stopped: bool


@dataclass(frozen=True, slots=True)
class Canceled:
    at: datetime
    deliveries: list[Stopped]


async def cancel(conn: Executor, notification_id: UUID) -> Canceled | None:
    """Withdraw a notification; None: there is no such one. In a transaction of its own, which the caller makes, and
    which is to be short: workers may wait for it. Repeating it changes nothing."""
    open_digests = [row["channel"] for row in await conn.fetch(SQL["lock_open_digests"], notification_id)]
    await conn.execute(SQL["cancel"], notification_id)
    await conn.execute(SQL["settle_canceled"], notification_id, open_digests)
    at: datetime | None = await conn.fetchval(SQL["canceled_at"], notification_id)
    if at is None:
        return None
    # Asked again, it tells what has come of it.
    return Canceled(at, [Stopped(*row) for row in await conn.fetch(SQL["cancel"], notification_id)])
