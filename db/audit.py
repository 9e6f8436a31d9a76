"""The audit log: what administrators did. Written in the transaction of the act, read by the API."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.pool import Executor
from db.statements import load

SQL = load("audit")


@dataclass(frozen=True, slots=True)
class Act:
    """A row to be. `detail` is a JSON object."""

    actor: str
    via: str
    action: str
    target: str
    detail: str
    request_id: str | None


async def record(executor: Executor, act: Act) -> None:
    facts = (act.actor, act.via, act.action, act.target, act.detail, act.request_id)
    await executor.execute(SQL["record"], *facts)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row."""

    id: int
    at: datetime
    actor: str
    via: str
    action: str
    target: str
    detail: dict[str, Any]
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """None: any. `before` is an entry's id; `about` are names that the target is, or ends with."""

    before: int | None = None
    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    about: Sequence[str] | None = None


async def page(executor: Executor, which: Filter, limit: int) -> list[Entry]:
    """Newest first."""
    facts = (which.before, which.actor, which.action, which.target, which.since, which.until)
    rows = await executor.fetch(SQL["page"], *facts, limit, which.about)
    return [Entry(**{**row, "detail": json.loads(row["detail"])}) for row in rows]


async def prune(executor: Executor, before: datetime, most: int) -> int:
    """How many are gone, the oldest first. Raises asyncpg.CheckViolationError for what is younger than a day."""
    gone: int = await executor.fetchval(SQL["prune"], before, most)
    return gone
