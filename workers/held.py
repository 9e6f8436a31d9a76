"""Something that several use at once and that is to be closed: when it is retired, by the last of its users."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from outbox.log import get
from outbox.service import describe

log = get("worker")

S = TypeVar("S")


@dataclass(slots=True, eq=False)
class Held(Generic[S]):
    made: S
    close: Callable[[S], Awaitable[None]]
    users: int = 0
    retired: bool = False

    @asynccontextmanager
    async def use(self) -> AsyncIterator[S]:
        """Not closed before the block ends."""
        self.users += 1
        try:
            yield self.made
        finally:
            self.users -= 1
            if self.retired and not self.users:
                await self._close()

    async def retire(self) -> None:
        """Closed as soon as nobody uses it. A second time changes nothing."""
        if self.retired:
            return
        self.retired = True
        if not self.users:
            await self._close()

    async def _close(self) -> None:
        """Whoever happens to be the last user was sent or not: the end of its connections changes nothing of that."""
        try:
            await self.close(self.made)
        except Exception as error:
            log.warning("worker.not_closed", what=type(self.made).__name__, error=describe(error))
