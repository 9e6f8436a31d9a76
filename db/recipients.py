"""Recipients: whom to ask for elsewhere, and what was answered; and those that people keep here."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asyncpg import Record

from db.pool import Executor
from db.statements import load

SQL = load("recipients")


@dataclass(frozen=True, slots=True)
class Recipient:
    """How somebody is to be reached. None: not at all, or not known."""

    user_id: str
    email: str | None = None
    phone: str | None = None
    locale: str | None = None
    time_zone: str | None = None


async def to_ask_for(executor: Executor, user_ids: Iterable[str], fresh_seconds: float) -> dict[str, bool]:
    """Those of these users of whom nothing fresh is known; True where something older is."""
    rows = await executor.fetch(SQL["to_ask_for"], list(user_ids), fresh_seconds)
    return {row["user_id"]: row["known"] for row in rows}


async def remember(executor: Executor, recipients: Sequence[Recipient]) -> None:
    await executor.execute(
        SQL["remember"],
        [each.user_id for each in recipients],
        [each.email for each in recipients],
        [each.phone for each in recipients],
        [each.locale for each in recipients],
        [each.time_zone for each in recipients],
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """What may be known of somebody. `quiet_hours` as outbox.restraints has them."""

    email: str | None = None
    phone: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    quiet_hours: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of notify.recipients, as people see it."""

    user_id: str
    facts: Facts
    updated_at: datetime


async def page(executor: Executor, after: str, limit: int) -> list[Kept]:
    """In order of user_id, those behind `after`; '' is before all."""
    return [kept(row) for row in await executor.fetch(SQL["page"], after, limit)]


async def one(executor: Executor, user_id: str) -> Kept | None:
    return kept_or_none(await executor.fetchrow(SQL["one"], user_id))


async def lock(executor: Executor, user_id: str) -> Kept | None:
    """Nobody else changes it until the caller's transaction ends."""
    return kept_or_none(await executor.fetchrow(SQL["lock"], user_id))


async def add(executor: Executor, user_id: str, facts: Facts) -> Kept | None:
    """None where there is one already."""
    return kept_or_none(await executor.fetchrow(SQL["add"], user_id, *columns(facts)))


async def put(executor: Executor, user_id: str, facts: Facts) -> Kept:
    row = await executor.fetchrow(SQL["put"], user_id, *columns(facts))
    assert row
    return kept(row)


async def remove(executor: Executor, user_id: str) -> None:
    await executor.execute(SQL["remove"], user_id)


def columns(facts: Facts) -> tuple[str | None, ...]:
    quiet = None if facts.quiet_hours is None else json.dumps(facts.quiet_hours)
    return facts.email, facts.phone, facts.locale, facts.time_zone, quiet


def kept_or_none(row: Record | None) -> Kept | None:
    return kept(row) if row else None


def kept(row: Record) -> Kept:
    user_id, email, phone, locale, time_zone, quiet, updated_at = row
    facts = Facts(email, phone, locale, time_zone, json.loads(quiet) if quiet else None)
    return Kept(user_id, facts, updated_at)


async def stand_in(executor: Executor, kind: str, address: str, locale: str | None) -> str | None:
    """The id of a recipient who has this address, for an hour; None where all that are kept for tests are in use."""
    await executor.execute(SQL["forget_stand_ins"])
    user_id: str | None = await executor.fetchval(SQL["stand_in"], address, kind, locale)
    return user_id
