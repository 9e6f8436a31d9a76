"""What a channel's shards have in common within a process: for each lane one set of connections, and one room."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from workers.common import Common
from workers.job import Channel
from workers.room import Room


@dataclass(slots=True)
class Bench:
    """Of one lane."""

    channel: Channel
    room: Room = field(default_factory=Room)
    shards: int = 0  # at work here


@dataclass(slots=True)
class Premises:
    """Of one channel. `make` makes what a lane needs, `close` ends it when the last of its shards has left."""

    kind: str
    common: Common
    make: Callable[[], Channel]
    close: Callable[[Channel], Awaitable[None]]
    _benches: dict[str, Bench] = field(default_factory=dict)

    @asynccontextmanager
    async def bench(self, lane: str) -> AsyncIterator[Bench]:
        if lane not in self._benches:
            self._benches[lane] = Bench(self.make())
        bench = self._benches[lane]
        bench.shards += 1
        try:
            yield bench
        finally:
            bench.shards -= 1
            if not bench.shards:
                del self._benches[lane]
                await self.close(bench.channel)
