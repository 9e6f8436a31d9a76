"""What the webhook channel keeps in Postgres: users' endpoints, and whose turn it is at an ordered one."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from db.pool import Executor
from db.statements import load

SQL = load("webhooks")
AHEAD_COUNTED = 300


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Of one user on one channel. `secrets` are references; `reason` is why the service has switched it off."""

    url: str
    secrets: list[str]
    enabled: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Of a delivery in the queue of its endpoint ('' is the channel's own): the id of its first stream entry."""

    channel: str
    endpoint: str
    notification_id: UUID
    ms: int
    row: int


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether it is ours; if not, how many stand before, and in how many seconds the first of them is tried again."""

    taken: bool
    ahead: int
    due_in: float | None


async def endpoint(executor: Executor, channel: str, user_id: str) -> Endpoint | None:
    row = await executor.fetchrow(SQL["endpoint"], channel, user_id)
    return Endpoint(*row) if row else None


async def switch_off_endpoint(executor: Executor, channel: str, user_id: str, url: str, reason: str) -> None:
    """Safe to repeat."""
    await executor.execute(SQL["switch_off_endpoint"], channel, user_id, url, reason)


async def switch_off_channel(executor: Executor, channel: str, version: int) -> None:
    """Safe to repeat."""
    await executor.execute(SQL["switch_off_channel"], channel, version)


async def place(executor: Executor, wanted: Place) -> Place:
    """The place that this delivery has: the one it got first, or the one wanted. Safe to repeat."""
    row = await executor.fetchrow(
        SQL["place"], wanted.channel, wanted.notification_id, wanted.endpoint, wanted.ms, wanted.row
    )
    assert row is not None, "the statement gives the row that it has inserted or found"
    return Place(wanted.channel, wanted.endpoint, wanted.notification_id, row["ms"], row["row"])


async def keep_places(executor: Executor, channel: str, places: Sequence[Place]) -> None:
    """For those that have none yet. In the transaction of settle."""
    await executor.execute(
        SQL["keep_places"],
        channel,
        [place.notification_id for place in places],
        [place.endpoint for place in places],
        [place.ms for place in places],
        [place.row for place in places],
    )


async def take_turn(executor: Executor, at: Place, seconds: float) -> Turn:
    """Take the turn for so many seconds, unless somebody has it or stands before. Safe to repeat."""
    row = await executor.fetchrow(
        SQL["take_turn"],
        at.channel,
        at.endpoint,
        at.notification_id,
        at.ms,
        at.row,
        seconds,
        AHEAD_COUNTED,
    )
    assert row is not None, "the statement always gives one row"
    return Turn(row["taken"], row["ahead"], row["due_in"])


async def leave_turn(executor: Executor, at: Place, *, delivered: bool) -> None:
    """Let the next one. Safe to repeat."""
    await executor.execute(
        SQL["leave_turn"], at.channel, at.endpoint, at.notification_id, at.ms, at.row, delivered
    )
