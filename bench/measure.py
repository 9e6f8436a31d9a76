"""The two things that are measured from outside, of ours and of every alternative alike: how fast streams grow, and
when an entry can be read."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from redis.asyncio import Redis

POLL_SECONDS = 0.005
ENTRY_SECONDS = 30.0
NUMBER = re.compile(rb'\\*"n\\*":\s*(\d+)')  # in JSON, perhaps in JSON once more
Sample = tuple[float, int]  # when, how many


class StalledError(Exception):
    """A stream does not grow any more, or never began to."""


def rate_of(samples: Sequence[Sample]) -> float:
    """Entries a second from the first entry seen to the last. Where all came between two looks, since the look before.

    `samples` begin with a look that saw none and end with the first that saw all.
    """
    last_at, last = samples[-1]
    first_at, first = next(sample for sample in samples if sample[1])
    if first == last:
        first_at, first = next(sample for sample in reversed(samples) if not sample[1])
    return (last - first) / (last_at - first_at)


async def sampled(
    count: Callable[[], Awaitable[int]], until: int, patience: float = ENTRY_SECONDS
) -> list[Sample]:
    """Looks at a number until it has grown to `until`.
    Raises StalledError when it has stood still for `patience` seconds."""
    samples: list[Sample] = [(perf_counter(), 0)]
    moved_at = samples[0][0]
    while samples[-1][1] < until:
        seen, now = await count(), perf_counter()
        if seen != samples[-1][1]:
            moved_at = now
        elif now - moved_at > patience:
            raise StalledError(f"{seen} of {until} after {patience:.0f} s without one more")
        samples.append((now, seen))
        await asyncio.sleep(POLL_SECONDS)
    return samples


async def drained(redis: Redis, rows: int, *streams: str, patience: float = ENTRY_SECONDS) -> float:
    """Rows a second until each of the streams holds all rows."""

    async def complete() -> int:
        return min([await redis.xlen(stream) for stream in streams])

    return rate_of(await sampled(complete, rows, patience))


async def consumed(redis: Redis, rows: int, stream: str, patience: float = ENTRY_SECONDS) -> float:
    """Rows a second until the stream that holds them is empty: for consumers that delete what they are done with."""

    async def gone() -> int:
        return rows - int(await redis.xlen(stream))

    return rate_of(await sampled(gone, rows, patience))


@dataclass(slots=True)
class Arrivals:
    """Time from a commit to its entry, one at a time. `insert(n)` commits row n when it returns."""

    redis: Redis
    stream: str
    insert: Callable[[int], Awaitable[None]]
    last_id: bytes = b"0-0"
    n: int = 0
    seconds: list[float] = field(default_factory=list)

    async def sample(self) -> float:
        """Raises StalledError where the entry does not come, or another one does."""
        self.n += 1
        waiting = asyncio.create_task(self.arrival())
        await self.insert(self.n)
        committed_at = perf_counter()
        arrived_at = await waiting
        self.seconds.append(arrived_at - committed_at)
        return self.seconds[-1]

    async def arrival(self) -> float:
        answer: Any = await self.redis.xread({self.stream: self.last_id}, block=int(ENTRY_SECONDS * 1000))
        at = perf_counter()
        if not answer:
            raise StalledError(f"{self.stream}: row {self.n} is not there after {ENTRY_SECONDS:.0f} s")
        self.last_id, fields = answer[0][1][-1]
        if str(self.n).encode() not in NUMBER.findall(b" ".join(fields.values())):
            raise StalledError(f"{self.stream}: waited for row {self.n}, found {fields!r}")
        return at
