"""Whom not to write to: addresses on the suppression list, and what users switched off by a link."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from asyncpg import Record

from db.pool import Executor
from db.statements import load
from outbox.unsubscribe import Wish

SQL = load("suppressions")


class Suppression(NamedTuple):
    """An address of a channel, and why. The reason is shown on timelines: it holds no personal data."""

    channel: str
    address: str
    reason: str


async def suppress(executor: Executor, suppressions: Sequence[Suppression]) -> None:
    """Put these on the list. Safe to repeat; a channel that is gone is left out."""
    if suppressions:
        columns: list[list[str]] = [list(column) for column in zip(*suppressions, strict=True)]
        await executor.execute(SQL["suppress"], *columns)


async def unsubscribe(executor: Executor, wish: Wish) -> bool:
    """Whether that changed anything. Safe to repeat."""
    facts = (wish.user_id, wish.channel, wish.event_type, wish.notification_id)
    changed: bool = await executor.fetchval(SQL["unsubscribe"], *facts)
    return changed


@dataclass(frozen=True, slots=True)
class Listed:
    """An address on the list, why, and since when."""

    channel: str
    address: str
    reason: str
    created_at: datetime


async def page(executor: Executor, channel: str | None, after: tuple[str, str], limit: int) -> list[Listed]:
    """In order of channel and address, those behind a pair; ('', '') is before all."""
    if channel is not None and after[0] != channel:
        after = (channel, "")
    return [Listed(*row) for row in await executor.fetch(SQL["page"], channel, *after, limit)]


async def of_address(executor: Executor, address: str, channel: str | None) -> list[Listed]:
    return [Listed(*row) for row in await executor.fetch(SQL["of_address"], address, channel)]


async def kind_of(executor: Executor, channel: str) -> str | None:
    kind: str | None = await executor.fetchval(SQL["kind_of"], channel)
    return kind


async def add(executor: Executor, one: Suppression) -> Listed | None:
    """None where it stands there already."""
    return listed(await executor.fetchrow(SQL["add"], *one))


async def one(executor: Executor, channel: str, address: str) -> Listed | None:
    return listed(await executor.fetchrow(SQL["one"], channel, address))


async def remove(executor: Executor, channel: str, address: str) -> Listed | None:
    """What was there; None where nothing was."""
    return listed(await executor.fetchrow(SQL["remove"], channel, address))


def listed(row: Record | None) -> Listed | None:
    return Listed(*row) if row else None
