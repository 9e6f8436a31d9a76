"""An independent reader: every XADD that Redis ran, seen by MONITOR, whoever sent it and whatever came of it later.

A stream's incarnation ends with a FLUSHALL; within one, nothing may be put in twice.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis


@dataclass(slots=True)
class Watch:
    """What went into the streams."""

    url: str
    incarnation: int = 0
    # (incarnation, stream, notification id, attempt) → how often
    added: Counter[tuple[int, str, str, str]] = field(default_factory=Counter)
    last_id: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    out_of_order: int = 0

    async def run(self, ready: asyncio.Event) -> None:
        redis = Redis.from_url(self.url, socket_timeout=None)  # nothing to see is no fault
        async with redis.monitor() as monitor:
            ready.set()
            async for line in monitor.listen():
                self.see(line["command"])

    def see(self, command: str) -> None:
        if command.startswith(("FLUSHALL", "FLUSHDB")):
            self.incarnation += 1
        elif command.startswith("XADD "):
            self.see_add(command)

    def see_add(self, command: str) -> None:
        _, stream, entry_id, rest = command.split(" ", 3)
        _, _, rest = rest.partition("envelope ")
        envelope, _, attempt = rest.rpartition(" attempt ")
        decoded: dict[str, Any] = json.loads(envelope)
        self.added[self.incarnation, stream, decoded["notification_id"], attempt] += 1
        ms, _, row = entry_id.partition("-")
        where, at = (self.incarnation, stream), (int(ms), int(row))
        self.out_of_order += at <= self.last_id.get(where, (0, 0))
        self.last_id[where] = at

    @property
    def twice(self) -> int:
        return sum(count - 1 for count in self.added.values())

    def notifications(self, stream: str) -> set[str]:
        return {notification for (_, at, notification, _) in self.added if at == stream}
