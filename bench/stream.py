"""A reader of a stream under load: it counts what comes, times the rows that were put in to be timed, and trims."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from redis.asyncio import Redis

from bench.load import Committed
from bench.measure import ENTRY_SECONDS, NUMBER, StalledError

TIMED = 1_000_000_000  # rows with such a number or a higher one are timed
COUNT = 2_000


@dataclass(frozen=True, slots=True)
class Carried:
    """What was committed, less the timed rows; when its entries came, and how many; seconds from a timed row's
    commit to its entry."""

    committed: Committed
    seen: list[tuple[float, int]]
    lags: list[float]

    @property
    def relayed(self) -> int:
        return sum(count for _, count in self.seen)

    def windows(self, number: int) -> list[float]:
        """Rows a second in so many parts of the time, one after the other."""
        began_at, length = self.seen[0][0], (self.seen[-1][0] - self.seen[0][0]) / number
        counts = [0] * number
        for at, count in self.seen:
            counts[min(int((at - began_at) / length), number - 1)] += count
        return [count / length for count in counts]


@dataclass(slots=True)
class Reader:
    """One stream, read to its end and trimmed behind."""

    redis: Redis
    stream: str
    seen: list[tuple[float, int]] = field(default_factory=list)
    committed_at: dict[int, float] = field(default_factory=dict)
    arrived_at: dict[int, float] = field(default_factory=dict)
    n: int = TIMED

    async def sent(self, insert: Callable[[int], Awaitable[None]]) -> None:
        """One more timed row."""
        self.n += 1
        await insert(self.n)
        self.committed_at[self.n] = perf_counter()

    async def run(self) -> None:
        last = b"0-0"
        while True:
            answer: Any = await self.redis.xread({self.stream: last}, count=COUNT, block=1000)
            at = perf_counter()
            if answer:
                entries = answer[0][1]
                last = entries[-1][0]
                self.see(at, entries)
                await self.redis.xtrim(self.stream, minid=last, approximate=False)

    def see(self, at: float, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        found = (NUMBER.search(b" ".join(fields.values())) for _, fields in entries)
        timed = [n for match in found if match and (n := int(match[1])) > TIMED]
        self.arrived_at |= dict.fromkeys(timed, at)
        if others := len(entries) - len(timed):
            self.seen.append((at, others))

    async def all_there(self, rows: int) -> None:
        """Raises StalledError where a timed row, or one of the others, does not come."""
        deadline = perf_counter() + ENTRY_SECONDS
        while missing := self.missing(rows):
            if perf_counter() > deadline:
                raise StalledError(f"{self.stream}: {missing} rows are not there")
            await asyncio.sleep(0.01)

    def missing(self, rows: int) -> int:
        timed = self.committed_at.keys() - self.arrived_at.keys()
        return len(timed) + rows - sum(count for _, count in self.seen)

    def carried(self, committed: Committed) -> Carried:
        lags = [self.arrived_at[n] - at for n, at in self.committed_at.items()]
        return Carried(committed, self.seen, lags)
