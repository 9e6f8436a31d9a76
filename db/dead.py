"""Dead letters: what no attempt could deliver, for a person to look at, to send on its way again or to discard."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

import asyncpg

from db.pool import Executor
from db.statements import load

SQL = load("dead")
SQL = {name: statement.replace("{filter}", SQL["filter"]) for name, statement in SQL.items()}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters. None: any."""

    channel: str | None = None
    error_class: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    notification_id: UUID | None = None
    closed: bool = False  # those redriven or discarded before, too

    def arguments(self) -> tuple[Any, ...]:
        """Of every statement with {filter}."""
        return (
            self.channel,
            self.error_class,
            self.since,
            self.until,
            self.notification_id,
            self.closed,
        )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`undecodable`: a stream entry that was no envelope, kept with its bytes and without a notification."""

    id: UUID
    notification_id: UUID | None
    event_type: str | None
    channel: str
    error_class: str
    reason: str
    attempts: int
    stream: str | None
    entry_id: str | None
    undecodable: bool
    payload: dict[str, Any] | None
    failed_at: datetime
    redriven_at: datetime | None
    discarded_at: datetime | None

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Self:
        payload = row["payload"]
        return cls(**{**row, "payload": json.loads(payload) if payload else None})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended."""

    failed_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Kind:
    channel: str
    error_class: str
    letters: int


class Answer(StrEnum):
    """What became of a letter that was to be redriven or discarded."""

    REDRIVEN = "redriven"
    DISCARDED = "discarded"
    UNDECODABLE = "an undecodable entry cannot be sent again"
    BEFORE = "it was redriven before"
    GONE = "it was discarded before"
    DELIVERED = "it was delivered in the meantime"
    UNDERWAY = "it is on its way already"
    CANCELED = "the notification is canceled"
    EXPIRED = "the notification is expired"


@dataclass(frozen=True, slots=True)
class Treated:
    """One letter's answer. In a dry run REDRIVEN and DISCARDED mean that it would be."""

    id: UUID
    notification_id: UUID | None
    channel: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Order:
    """How letters are to be treated: at most so many, the oldest first; in a dry run nothing changes."""

    limit: int = 1_000
    dry_run: bool = False
    per_second: float | None = None  # redriven ones become due at this rate; None: all at once


async def list_dead(
    executor: Executor, which: Filter, *, after: Place | DeadLetter | None = None, limit: int = 100
) -> list[DeadLetter]:
    """A page, newest first. `after` is where the page before ended."""
    place = (after.failed_at, after.id) if after else (None, None)
    rows = await executor.fetch(SQL["list_dead"], *which.arguments(), *place, limit)
    return [DeadLetter.from_row(row) for row in rows]


async def count_dead(executor: Executor, which: Filter) -> list[Kind]:
    rows = await executor.fetch(SQL["count_dead"], *which.arguments())
    return [Kind(*row) for row in rows]


async def redrive(
    executor: Executor, which: Filter | Sequence[UUID], order: Order = Order()
) -> list[Treated]:
    """Send letters on their way again, by their ids or by a filter. Needs a transaction, which the caller owns: it
    keeps the letters picked from being redriven twice."""
    picked = await pick(executor, which, order.limit)
    answers = {row["id"]: judge(row) for row in picked}
    ready = [id_ for id_, answer in answers.items() if answer is Answer.REDRIVEN]
    if ready and not order.dry_run:
        begun = await executor.fetch(SQL["redrive"], ready, order.per_second)
        done = {(row["notification_id"], row["channel"]) for row in begun}
        for row in picked:
            if row["id"] in ready and (row["notification_id"], row["channel"]) not in done:
                answers[row["id"]] = Answer.UNDERWAY
    return treated(picked, answers)


async def discard(
    executor: Executor, which: Filter | Sequence[UUID], order: Order = Order()
) -> list[Treated]:
    """Put letters out of the lists. Needs a transaction, as redrive does."""
    picked = await pick(executor, which, order.limit)
    answers = {row["id"]: closed(row) or Answer.DISCARDED for row in picked}
    if not order.dry_run:
        await executor.fetch(SQL["discard"], [row["id"] for row in picked])
    return treated(picked, answers)


async def pick(executor: Executor, which: Filter | Sequence[UUID], limit: int) -> list[asyncpg.Record]:
    by_id = None if isinstance(which, Filter) else list(which)
    found = which if isinstance(which, Filter) else Filter()
    return await executor.fetch(SQL["pick_dead"], *found.arguments(), by_id, limit)


def treated(picked: Sequence[asyncpg.Record], answers: dict[UUID, Answer]) -> list[Treated]:
    return [Treated(row["id"], row["notification_id"], row["channel"], answers[row["id"]]) for row in picked]


def closed(row: asyncpg.Record) -> Answer | None:
    return Answer.BEFORE if row["redriven"] else Answer.GONE if row["discarded"] else None


def judge(row: asyncpg.Record) -> Answer:
    """Whether a letter may be redriven, from its state and its delivery's."""
    hindrances = {
        Answer.UNDECODABLE: row["undecodable"],
        Answer.DELIVERED: row["status"] == "delivered",
        Answer.BEFORE: row["redriven"],
        Answer.GONE: row["discarded"],
        Answer.CANCELED: row["canceled"],
        Answer.EXPIRED: row["expired"],
        Answer.UNDERWAY: row["status"] not in ("failed", "unknown"),
    }
    return next((answer for answer, hinders in hindrances.items() if hinders), Answer.REDRIVEN)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What the stream of dead letters is told about one. No personal data."""

    id: UUID
    notification_id: UUID | None
    event_type: str | None
    channel: str
    error_class: str
    reason: str
    attempts: int
    failed_at: datetime


async def unmirrored(executor: Executor, limit: int) -> list[Mirrored]:
    """Letters that the stream has not seen. Needs a transaction, which holds their locks until they are marked."""
    return [Mirrored(*row) for row in await executor.fetch(SQL["unmirrored"], limit)]


async def mark_mirrored(executor: Executor, letters: Sequence[Mirrored]) -> None:
    await executor.execute(SQL["mark_mirrored"], [letter.id for letter in letters])
