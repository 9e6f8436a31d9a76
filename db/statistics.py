"""What became of the notifications of a time (db/sql/statistics.sql)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from asyncpg import Record

from db.pool import Executor
from db.statements import load

SQL = load("statistics")
TIMEOUT_SECONDS = 20.0

Period = Literal["hour", "day"]


@dataclass(frozen=True, slots=True)
class Grouping:
    """By what deliveries are told apart. `period`: by the hour or the day, UTC, of the notification's creation."""

    channel: bool = False
    event_type: bool = False
    priority: bool = False
    period: Period | None = None


async def count(
    executor: Executor, span: tuple[datetime, datetime], look: int, by: Grouping, groups: int
) -> list[Record]:
    """First the whole, then at most `groups` groups, of the `look` newest notifications of the time."""
    facts = (*span, look, by.channel, by.event_type, by.priority, by.period, groups + 1)
    return await executor.fetch(SQL["count"], *facts, timeout=TIMEOUT_SECONDS)
