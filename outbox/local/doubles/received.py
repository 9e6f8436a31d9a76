"""What a double took: the newest, as a person or a test wants to see them."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEEP = 10_000


@dataclass(frozen=True, slots=True)
class Received:
    """One message. `details`: whatever else the request said, as JSON. `at`: Unix seconds."""

    provider: str
    id: str  # the provider's own id of it
    to: str
    title: str
    text: str
    details: Mapping[str, Any]
    at: float = field(default_factory=time.time)


class Box:
    """Those of one double. `total` counts the forgotten, too."""

    def __init__(self, keep: int = KEEP) -> None:
        self.messages: deque[Received] = deque(maxlen=keep)
        self.total = 0
        self._came = asyncio.Condition()

    async def add(self, message: Received) -> None:
        async with self._came:
            self.messages.append(message)
            self.total += 1
            self._came.notify_all()

    async def wait(self, number: int, seconds: float = 60.0) -> list[Received]:
        """Until so many have come in all. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._came:
            await self._came.wait_for(lambda: self.total >= number)
        return list(self.messages)
