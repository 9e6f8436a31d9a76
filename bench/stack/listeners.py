"""Browsers: one live inbox for each of some users, through the front, which counts what it was told."""

from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field

from outbox.client import AsyncClient, New


@dataclass(slots=True)
class Listener:
    """Of one user. `told`: how often each notification came as new."""

    user: str
    client: AsyncClient
    told: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """Without an end: the client connects again by itself, and says where it was."""
        async with aclosing(self.client.events(cursor=0)) as events:
            async for event in events:
                if isinstance(event, New):
                    self.told[str(event.item.notification_id)] += 1
