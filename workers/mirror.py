"""Dead letters as a stream, for those who want to be told of them rather than ask: notifications.dlq.

The table is the truth. The stream is a copy of bounded length that may lose its oldest and, after a crash between the
append and the mark, tell one letter twice: under the same `id`.
"""

import asyncio
from typing import Any

from db import dead
from db.dead import Mirrored
from db.pool import Pool
from outbox.nodes import Nodes
from outbox.streams import Keys

LENGTH = 10_000
PAGE = 500
IDLE_SECONDS = 1.0
APPEND_SECONDS = 5.0  # letters are locked meanwhile


class Mirror:
    """One for each worker process; they divide the letters between them."""

    def __init__(self, pool: Pool, nodes: Nodes, keys: Keys) -> None:
        self.pool, self.nodes, self.stream = pool, nodes, keys.dead_letters

    async def step(self) -> float:
        async with self.pool.acquire() as connection, connection.transaction():
            letters = await dead.unmirrored(connection, PAGE)
            if letters:
                async with asyncio.timeout(APPEND_SECONDS):
                    await self.append(letters)
                await dead.mark_mirrored(connection, letters)
        return 0 if len(letters) == PAGE else IDLE_SECONDS

    async def append(self, letters: list[Mirrored]) -> None:
        async with self.nodes.at(self.stream) as redis:
            pipe = redis.pipeline(transaction=False)
            for letter in letters:
                pipe.xadd(self.stream, fields(letter), maxlen=LENGTH, approximate=True)
            await pipe.execute()


def fields(letter: Mirrored) -> dict[Any, Any]:
    """Of the entry. What is not known is left out."""
    facts = {
        "id": letter.id,
        "notification_id": letter.notification_id,
        "event_type": letter.event_type,
        "channel": letter.channel,
        "error_class": letter.error_class,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "failed_at": letter.failed_at.isoformat(),
    }
    return {name: str(fact) for name, fact in facts.items() if fact is not None}
