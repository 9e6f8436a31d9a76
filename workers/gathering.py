"""Calls that come within a few milliseconds of each other, made as one: for far sides that take many at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from outbox.trace_context import leave

# A batch departs when nothing joined it for so long, nothing more is coming and none is on its way, or so long after
# its first. That those behind one that is on its way gather until it is answered is Nagle's algorithm (RFC 896): nobody
# waits while there is little to do, and the more there is the larger the batches.
QUIET_SECONDS = 0.005
LONGEST_SECONDS = 0.2

M = TypeVar("M")
R = TypeVar("R")


@dataclass(slots=True)
class Waiting(Generic[M, R]):
    message: M
    result: "asyncio.Future[R]"


@dataclass(slots=True)
class Coming:
    """How many callers are on their way, but not there yet. A batch waits for them a little."""

    number: int = 0


class Gathering(Generic[M, R]):
    """`send` takes up to `size` messages and gives one result for each, in their order. It must not raise what its
    far side did; what it raises, each of the callers gets. A caller that gives up leaves its batch to the others."""

    def __init__(
        self, send: Callable[[Sequence[M]], Awaitable[Sequence[R]]], size: int, coming: Coming | None = None
    ) -> None:
        self._send, self.size, self._coming = send, size, coming or Coming()
        self._waiting: list[Waiting[M, R]] = []
        self._closes: asyncio.TimerHandle | None = None
        self._latest = 0.0
        self._running: set[asyncio.Task[None]] = set()

    async def add(self, message: M) -> R:
        """The result of the batch that this message travelled with."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[R] = loop.create_future()
        if not self._waiting:
            self._latest = loop.time() + LONGEST_SECONDS
        self._waiting.append(Waiting(message, result))
        if self._closes:
            self._closes.cancel()
        if len(self._waiting) >= self.size:
            self.depart()
        else:
            self._look_later()
        return await result

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._closes = loop.call_at(min(loop.time() + QUIET_SECONDS, self._latest), self._look)

    def _look(self) -> None:
        """Nothing joined for a while: it departs, unless somebody is coming, or another is on its way, and there is
        time."""
        more = self._coming.number > 0 or self._running
        if more and asyncio.get_running_loop().time() < self._latest:
            self._look_later()
        else:
            self.depart()

    def depart(self) -> None:
        """Send what has gathered."""
        batch, self._waiting, self._closes = self._waiting, [], None
        batch = [waiting for waiting in batch if not waiting.result.done()]
        if batch:
            task = asyncio.get_running_loop().create_task(self._carry(batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _carry(self, batch: Sequence[Waiting[M, R]]) -> None:
        leave()
        try:
            results = await self._send([waiting.message for waiting in batch])
        except BaseException as error:
            for waiting in batch:
                if not waiting.result.done():
                    waiting.result.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.result.done():
                waiting.result.set_result(result)

    async def close(self) -> None:
        """What is on its way arrives; what has gathered is sent."""
        if self._closes:
            self._closes.cancel()
        self.depart()
        await asyncio.gather(*self._running, return_exceptions=True)
