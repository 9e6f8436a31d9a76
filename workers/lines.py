"""The connections to one far side over HTTP/2: as many as its requests need, and few requests on each that may break.

Requests on one connection share its end: of each that had left, nobody knows whether it was taken. So a far side whose
connections break gets fewer requests on each, and more again as it answers; one that is well has one connection.
Nothing is sent twice here, except what the far side says it has not looked at (RFC 9113 §6.8 and §8.7).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx

from workers.held import Held
from workers.http2 import (
    IDLE_SECONDS,
    Answer,
    Progress,
    Request,
    breaks,
    broken,
    exchange,
    patience,
    silent,
    unseen,
)
from workers.outcome import Transient, Unknown

# What far sides commonly allow, and where it ends however often connections break.
MOST, LEAST = 100, 4
# So many answers, and one more request may share a connection.
ANSWERS = 10
TRIES = 2


@dataclass(slots=True)
class Trust:
    """How many requests may share a connection: halved with each that breaks. Pure."""

    room: float = MOST

    def answered(self) -> None:
        self.room = min(MOST, self.room + 1 / ANSWERS)

    def broke(self) -> None:
        self.room = max(LEAST, self.room / 2)


class Lines:
    """`make`: a client, which connects when it is first asked and again whenever it has to."""

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._trust = Trust()
        self._lines: list[Held[httpx.AsyncClient]] = []
        self._all_needed_at = 0.0

    async def post(self, request: Request, ends: float) -> Answer | Transient | Unknown:
        """One request, until `ends` on the loop's clock."""
        for _ in range(TRIES):
            if (came := await self._once(request, ends)) is not None:
                return came
        return Transient("connection", "the far side said each time that it did not look at the request")

    async def _once(self, request: Request, ends: float) -> Answer | Transient | Unknown | None:
        """None: the far side has not looked at it."""
        progress, line = Progress(), self._line()
        try:
            async with line.use() as client, asyncio.timeout_at(ends):
                answer = await exchange(client, request, progress, patience(ends))
        except TimeoutError:
            await self._retire(line)
            return silent(progress)
        # ValueError: httpcore, where a connection breaks under many requests, gives back more streams than it took.
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as error:
            told = breaks(error) and await self._broken(line, progress)
            return None if unseen(error) else replace(broken(error, progress), told=told)
        self._trust.answered()
        await self._let_go()
        return answer

    def _line(self) -> Held[httpx.AsyncClient]:
        """The first with room; when none has, a new one."""
        line = next((line for line in self._lines if line.users < int(self._trust.room)), None)
        if line is None:
            line = Held(self._make(), httpx.AsyncClient.aclose)
            self._lines.append(line)
        if line is self._lines[-1]:
            self._all_needed_at = asyncio.get_running_loop().time()
        return line

    async def _broken(self, line: Held[httpx.AsyncClient], progress: Progress) -> bool:
        """Whether another request has told of it already."""
        if line.retired:
            return True
        if progress.left:
            self._trust.broke()
        await self._retire(line)
        return False

    async def _retire(self, line: Held[httpx.AsyncClient]) -> None:
        """New requests take another: the old one ends with what is under way on it."""
        if line in self._lines:
            self._lines.remove(line)
        await line.retire()

    async def _let_go(self) -> None:
        """Of the last one, where the others have done without it for long."""
        now = asyncio.get_running_loop().time()
        if len(self._lines) > 1 and not self._lines[-1].users and now - self._all_needed_at > IDLE_SECONDS:
            self._all_needed_at = now
            await self._retire(self._lines[-1])

    async def close(self) -> None:
        """What is under way ends first: the last request of each closes it."""
        for line in list(self._lines):
            await self._retire(line)
