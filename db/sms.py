"""What is kept about text messages: which message is whose, what the provider reported, who must not be written to."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from db.pool import Executor
from db.statements import load

SQL = load("sms")

# Of a message: it did not arrive, and never will.
LOST = ("undelivered", "failed", "canceled")
# How a suppression begins that the recipient's own STOP has made, and their START takes away.
UNSUBSCRIBED = "unsubscribed"


@dataclass(frozen=True, slots=True)
class Doubt:
    """An attempt since then may have arrived; `message_id`: the message that is known to have."""

    notification_id: UUID
    since: datetime
    message_id: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    status: str
    attempts: int
    provider: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider says about one message. `reason` holds no personal data."""

    notification_id: UUID
    channel: str
    message_id: str
    status: str
    rank: int
    reason: str | None = None


async def doubts(executor: Executor, channel: str, notification_ids: Sequence[UUID]) -> list[Doubt]:
    """Those of them that nobody knows enough about."""
    rows = await executor.fetch(SQL["doubts"], channel, notification_ids, LOST)
    return [Doubt(*row) for row in rows]


async def others(
    executor: Executor, channel: str, notification_id: UUID, message_ids: Sequence[str]
) -> set[str]:
    """Which of the messages are known to be another notification's."""
    rows = await executor.fetch(SQL["others"], message_ids, channel, notification_id)
    return {row["message_id"] for row in rows}


async def remember(executor: Executor, channel: str, notification_ids: Sequence[UUID]) -> None:
    """The messages of what was just settled as delivered; one reported as lost meanwhile fails here."""
    await executor.execute(SQL["remember"], channel, notification_ids)
    await fail_undelivered(executor, channel, notification_ids)


async def lock_delivery(executor: Executor, notification_id: UUID, channel: str) -> Delivery | None:
    """The first statement of a transaction about one delivery's report."""
    row = await executor.fetchrow(SQL["lock_delivery"], notification_id, channel)
    return Delivery(*row) if row else None


async def report(executor: Executor, it: Report) -> bool:
    """Whether it tells something new. A repeat changes nothing."""
    facts = (it.message_id, it.channel, it.notification_id, it.status, it.rank, it.reason)
    return bool(await executor.fetchval(SQL["report"], *facts))


async def tell(executor: Executor, it: Report, event: str, attempt: int, detail: Mapping[str, Any]) -> None:
    await executor.execute(SQL["tell"], it.notification_id, it.channel, event, attempt, json.dumps(detail))


async def resolve(executor: Executor, it: Report) -> bool:
    """Whether this settled a delivery that nobody knew enough about."""
    return bool(await executor.fetchval(SQL["resolve"], it.notification_id, it.channel, it.message_id))


async def fail_undelivered(executor: Executor, channel: str, notification_ids: Sequence[UUID]) -> None:
    await executor.execute(SQL["fail_undelivered"], channel, notification_ids, LOST)


async def welcome_number(executor: Executor, channel: str, number: str) -> None:
    """Whoever said STOP says START. Safe to repeat."""
    await executor.execute(SQL["welcome_number"], channel, number, UNSUBSCRIBED)
