"""What the Python consumers share: the stream they fill, and how they say that they are up and when to stop.

Their projects hand a consumer one row at a time, many at once. Awaiting one XADD for each would measure Redis
round trips, so what the handlers of one turn of the event loop add travels in one pipeline.
"""

import asyncio
import os
import signal

from redis.asyncio import Redis

DATABASE_URL = os.environ["DATABASE_URL"]
STREAM = os.environ.get("STREAM", "")


class Sink:
    """The stream. `add` returns when Redis has the entry."""

    def __init__(self) -> None:
        self._redis = Redis.from_url(os.environ["REDIS_URL"])
        self._waiting: list[bytes | str] = []
        self._sending: asyncio.Task[None] | None = None

    async def add(self, payload: bytes | str) -> None:
        if not self._waiting:
            self._sending = asyncio.create_task(self._send())
        self._waiting.append(payload)
        assert self._sending
        await self._sending

    async def _send(self) -> None:
        """Runs after the handlers that are ready now, and sends what they have added."""
        payloads, self._waiting = self._waiting, []
        pipeline = self._redis.pipeline(transaction=False)
        for payload in payloads:
            pipeline.xadd(STREAM, {"payload": payload})
        await pipeline.execute()


def stop_signal() -> asyncio.Event:
    """Set on SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop


def ready() -> None:
    print("ready", flush=True)
