"""Notifications as people look for them: by time, user, kind; newest first, a page at a time (db/sql/browse.sql)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from db.pool import Executor
from db.statements import load

SQL = load("browse")
PAGES = {start: SQL["page"].replace("{from}", SQL[start]) for start in ("of_all", "of_user", "of_key")}

BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """Between two notifications: everything older than this one, and with a lower id where that is the same."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which ones. None: any. `event_type` is one, or the beginning of some, as order.*, or * for all."""

    user_id: str | None = None
    dedup_key: str | None = None
    event_type: str | None = None
    channel: str | None = None
    priority: str | None = None
    since: datetime | None = None

    @property
    def start(self) -> tuple[str, tuple[str, ...]]:
        """The narrowest way in, and its own parameter."""
        if self.dedup_key is not None:
            return "of_key", (self.dedup_key,)
        if self.user_id is not None:
            return "of_user", (self.user_id,)
        return "of_all", ()

    @property
    def event_types(self) -> tuple[str | None, str | None]:
        """One, or a beginning."""
        if self.event_type is not None and self.event_type.endswith("*"):
            return None, self.event_type[:-1]
        return self.event_type, None


async def page(
    executor: Executor, wanted: Wanted, below: Place, look: int, *, payloads: bool
) -> list[Record]:
    """Of the next `look` notifications those that fit, newest first; the last one of them always, with `fits` false
    where it does not. Its `number` is `look` if there may be others behind it."""
    start, own = wanted.start
    facts: tuple[Any, ...] = (below.created_at, below.id, wanted.since or BEGINNING, look)
    which = (*wanted.event_types, wanted.channel, wanted.priority, wanted.user_id)
    return await executor.fetch(PAGES[start], *facts, *which, payloads, *own)
