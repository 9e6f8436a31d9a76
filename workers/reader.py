"""Reading one stream: new entries, the own ones after a lost reply, and those that dead consumers left behind.

One key per call, so that it works on Redis Cluster. Reading twice is safe: the claim decides who delivers.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from outbox.log import get
from outbox.nodes import Nodes
from outbox.streams import GROUP
from workers.entries import RawEntry

log = get("worker")

BLOCK_MILLISECONDS = 1_000
PAGE = 500
# A consumer unseen for so many leases, with nothing pending, is the name of a process long gone.
FORGET_LEASES = 10
# XINFO and XGROUP DELCONSUMER in one step: deleting a consumer that has entries pending would lose them.
FORGET = """
local gone = {}
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #row, 2 do consumer[row[i]] = row[i + 1] end
  if consumer.pending == 0 and consumer.idle >= tonumber(ARGV[2]) and consumer.name ~= ARGV[3] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    gone[#gone + 1] = consumer.name
  end
end
return gone
"""


@dataclass(frozen=True, slots=True)
class Source:
    """Which stream is read, and as whom. An entry idle for `lease_seconds` is free to be taken over."""

    stream: str
    consumer: str
    lease_seconds: float

    @property
    def idle_milliseconds(self) -> int:
        # A little longer than the lease: the claim, which starts it, comes after the read.
        return int(self.lease_seconds * 1_100)


class Reader:
    """Reads with a connection of its own, because a blocked one serves nobody else."""

    def __init__(self, nodes: Nodes, source: Source) -> None:
        self.source = source
        self._redis = partial(nodes.at, source.stream)
        self._own_from: bytes | None = None  # set while a reply may have been lost
        self._take_over_at = 0.0
        self._take_over_from: bytes | str = "0-0"

    async def read(self, count: int) -> list[RawEntry]:
        """Up to `count` entries, after a wait of a second at most."""
        try:
            if self._own_from is not None:
                return await self._own(min(count, PAGE))
            if time.monotonic() >= self._take_over_at and (taken := await self._abandoned(count)):
                return taken
            return await self._fresh(count)
        except ResponseError as error:
            # The stream or its group is gone (FLUSHALL, DEL): begin again, from the first entry.
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            await self.make_group()
            return []

    async def make_group(self) -> None:
        """From id 0, so that nothing written before is missed."""
        try:
            async with self._redis() as redis:
                await redis.xgroup_create(self.source.stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        else:
            log.info("worker.group_made", stream=self.source.stream)

    async def _fresh(self, count: int) -> list[RawEntry]:
        self._own_from = b"0"  # until the reply is here
        found = await self._group_read(">", count, BLOCK_MILLISECONDS)
        self._own_from = None
        return found

    async def _own(self, count: int) -> list[RawEntry]:
        """What Redis holds as given to this consumer, page by page: among it what it never got to see."""
        found = await self._group_read(self._own_from or b"0", count, None)
        self._own_from = found[-1].id if found else None
        return found

    async def _group_read(self, after: bytes | str, count: int, block: int | None) -> list[RawEntry]:
        streams: Any = {self.source.stream: after}
        async with self._redis() as redis:
            reply: Any = await redis.xreadgroup(
                GROUP, self.source.consumer, streams, count=count, block=block
            )
        return entries(reply[0][1]) if reply else []

    async def _abandoned(self, count: int) -> list[RawEntry]:
        """What other consumers left unfinished for longer than the lease."""
        self._own_from = b"0"  # until the reply is here
        async with self._redis() as redis:
            following, taken, *_ = await redis.xautoclaim(
                self.source.stream,
                GROUP,
                self.source.consumer,
                self.source.idle_milliseconds,
                self._take_over_from,
                count=count,
            )
        self._own_from = None
        self._take_over_from = following
        if following == b"0-0":
            self._take_over_at = time.monotonic() + self.source.lease_seconds / 3
            await self.forget()
        return entries(taken)

    async def forget(self) -> None:
        """Remove the names of consumers long gone."""
        idle = int(self.source.lease_seconds * FORGET_LEASES * 1000)
        async with self._redis() as redis:
            await redis.eval(FORGET, 1, self.source.stream, GROUP, idle, self.source.consumer)

    async def leave(self) -> int:
        """At the end: what is still pending is marked as idle for long, so that others take it over at once;
        with nothing pending, the consumer's name goes, too. Gives how many entries were left."""
        left, after = 0, "-"
        while ids := await self._pending(after):
            async with self._redis() as redis:
                await redis.xclaim(
                    self.source.stream,
                    GROUP,
                    self.source.consumer,
                    0,
                    ids,
                    idle=self.source.idle_milliseconds,
                    justid=True,
                )
            left, after = left + len(ids), f"({ids[-1].decode()}"
        if not left:
            async with self._redis() as redis:
                await redis.xgroup_delconsumer(self.source.stream, GROUP, self.source.consumer)
        return left

    async def _pending(self, after: str) -> list[Any]:
        async with self._redis() as redis:
            rows = await redis.xpending_range(
                self.source.stream, GROUP, after, "+", PAGE, consumername=self.source.consumer
            )
        return [row["message_id"] for row in rows]


def entries(rows: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> list[RawEntry]:
    return [RawEntry(entry_id, fields) for entry_id, fields in rows]
