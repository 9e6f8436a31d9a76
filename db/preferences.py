"""What recipients wish: by channel, and by event type or category."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.pool import Executor
from db.statements import load

SQL = load("preferences")


@dataclass(frozen=True, slots=True)
class Preference:
    """`event_type`: an event type, a category as order.*, or * for all. Constraints as outbox.restraints has them."""

    channel: str
    event_type: str
    enabled: bool
    constraints: dict[str, Any]
    updated_at: datetime | None = None


async def of_user(executor: Executor, user_id: str) -> list[Preference]:
    rows = await executor.fetch(SQL["of_user"], user_id)
    return [Preference(**{**row, "constraints": json.loads(row["constraints"])}) for row in rows]


async def replace_all(executor: Executor, user_id: str, wishes: Sequence[Preference]) -> None:
    """These are all there are from now on. In a transaction, which the caller owns. Raises ForeignKeyViolationError
    for a channel that nobody knows."""
    await executor.execute(SQL["lock_user"], user_id)
    channels = [wish.channel for wish in wishes]
    types = [wish.event_type for wish in wishes]
    await executor.execute(SQL["keep_only"], user_id, channels, types)
    enabled = [wish.enabled for wish in wishes]
    await executor.execute(
        SQL["put"], user_id, channels, types, enabled, [json.dumps(wish.constraints) for wish in wishes]
    )
