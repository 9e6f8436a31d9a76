"""Dead letters: what no attempt could deliver, for a person to look at and to send on its way again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import asyncpg

from db.pool import Executor
from db.statements import load

SQL = load("dead")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters. None: any."""

    channel: str | None = None
    error_class: str | None = None
    since: datetime | None = None
    redriven: bool = False  # those redriven before, too


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`undecodable`: a stream entry that was no envelope, kept with its bytes and without a notification."""

    id: UUID
    notification_id: UUID | None
    channel: str
    error_class: str
    reason: str
    attempts: int
    stream: str | None
    entry_id: str | None
    undecodable: bool
    failed_at: datetime
    redriven_at: datetime | None


@dataclass(frozen=True, slots=True)
class Kind:
    channel: str
    error_class: str
    letters: int


class Answer(StrEnum):
    """What became of a letter that was to be redriven."""

    REDRIVEN = "redriven"
    UNDECODABLE = "an undecodable entry cannot be sent again"
    BEFORE = "it was redriven before"
    DELIVERED = "it was delivered in the meantime"
    UNDERWAY = "it is on its way already"
    CANCELED = "the notification is canceled"
    EXPIRED = "the notification is expired"


@dataclass(frozen=True, slots=True)
class Redriven:
    """One letter's answer. In a dry run REDRIVEN means that it would be."""

    id: UUID
    notification_id: UUID | None
    channel: str
    answer: Answer


async def list_dead(
    executor: Executor, which: Filter, *, after: DeadLetter | None = None, limit: int = 100
) -> list[DeadLetter]:
    """A page, newest first. `after` is the last letter of the page before."""
    rows = await executor.fetch(
        SQL["list_dead"],
        which.channel,
        which.error_class,
        which.since,
        which.redriven,
        after.failed_at if after else None,
        after.id if after else None,
        limit,
    )
    return [DeadLetter(*row) for row in rows]


async def count_dead(executor: Executor, which: Filter) -> list[Kind]:
    rows = await executor.fetch(
        SQL["count_dead"], which.channel, which.error_class, which.since, which.redriven
    )
    return [Kind(*row) for row in rows]


async def redrive(
    executor: Executor,
    which: Filter | Sequence[UUID],
    *,
    limit: int = 1_000,
    dry_run: bool = False,
) -> list[Redriven]:
    """Send letters on their way again, by their ids or by a filter, oldest first. Needs a transaction, which the
    caller owns: it keeps the letters picked from being redriven twice."""
    by_id = None if isinstance(which, Filter) else list(which)
    found = which if isinstance(which, Filter) else Filter()
    picked = await executor.fetch(
        SQL["pick_dead"], by_id, found.channel, found.error_class, found.since, limit
    )
    answers = {row["id"]: judge(row) for row in picked}
    ready = [row for row in picked if answers[row["id"]] is Answer.REDRIVEN]
    if ready and not dry_run:
        begun = await executor.fetch(
            SQL["redrive"], [row["notification_id"] for row in ready], [row["channel"] for row in ready]
        )
        done = {(row["notification_id"], row["channel"]) for row in begun}
        for row in ready:
            if (row["notification_id"], row["channel"]) not in done:
                answers[row["id"]] = Answer.UNDERWAY
    return [Redriven(row["id"], row["notification_id"], row["channel"], answers[row["id"]]) for row in picked]


def judge(row: asyncpg.Record) -> Answer:
    """Whether a letter may be redriven, from its state and its delivery's."""
    hindrances = {
        Answer.UNDECODABLE: row["undecodable"],
        Answer.DELIVERED: row["status"] == "delivered",
        Answer.BEFORE: row["redriven"],
        Answer.CANCELED: row["canceled"],
        Answer.EXPIRED: row["expired"],
        Answer.UNDERWAY: row["status"] not in ("failed", "unknown"),
    }
    return next((answer for answer, hinders in hindrances.items() if hinders), Answer.REDRIVEN)
