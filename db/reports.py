"""What providers and mail servers say about a delivery after it was settled."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from db.pool import Executor
from db.statements import load

SQL = load("reports")


class Report(NamedTuple):
    """One event. `event_id` is the provider's own, so that it counts once; `detail` is shown on the timeline, and
    holds no personal data."""

    event_id: str
    notification_id: UUID
    channel: str
    event: str
    detail: Mapping[str, Any]


class Mail(NamedTuple):
    """A delivery by e-mail, and the recipient's address as it is now."""

    channel: str
    address: str | None


async def take_in(executor: Executor, provider: str, reports: Sequence[Report]) -> set[str]:
    """Put them on the timelines. Gives the ids of those that were new. Safe to repeat."""
    if not reports:
        return set()
    rows = await executor.fetch(
        SQL["take_in"],
        provider,
        [report.event_id for report in reports],
        [report.notification_id for report in reports],
        [report.channel for report in reports],
        [report.event for report in reports],
        [json.dumps(report.detail) for report in reports],
    )
    return {row["event_id"] for row in rows}


async def mails_of(executor: Executor, notification_id: UUID) -> list[Mail]:
    return [Mail(*row) for row in await executor.fetch(SQL["mails_of"], notification_id)]
