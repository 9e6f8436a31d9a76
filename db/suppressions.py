"""Whom not to write to: addresses on the suppression list, and what users switched off by a link."""

from collections.abc import Sequence
from typing import NamedTuple

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
