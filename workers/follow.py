"""Which channels this process works on: the rows of notify.channels, looked at every second, so that one that is added
gets its lanes without a deploy, and one that is removed loses them. So do shards: one that gets nothing new is read
for as long as there is something in it.

A channel that is switched off keeps its lanes: what is on its way is settled as suppressed, and its streams run dry.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from db import channels
from db.channels import Kind
from db.pool import Pool
from outbox.log import get
from outbox.nodes import Nodes
from outbox.service import Stop, run_loop
from outbox.streams import LANES, Keys

log = get("worker")

LOOK_SECONDS = 1.0


class Shard(NamedTuple):
    """One of a channel's. Most channels have but number 0."""

    channel: str
    number: int


@dataclass(frozen=True, slots=True)
class Running:
    """The lanes of one shard. They end when `stop` is asked."""

    kind: str
    stop: Stop
    task: asyncio.Task[None]


def moves(running: Mapping[Shard, str], wanted: Mapping[Shard, str]) -> tuple[list[Shard], list[Shard]]:
    """Which shards to end and which to begin, with their channels' kinds. One that is ending begins again once it has
    ended."""
    end = [name for name, kind in running.items() if wanted.get(name) != kind]
    begin = [name for name in wanted if name not in running]
    return end, begin


class Fleet:
    """The channels at work here. `work` runs the lanes of one shard until its Stop is asked; `holding` says which of
    some shards there is something in; `workable` says by name and kind whether there is a module for it; `only`
    restricts it to some names, `left_out` are others' work."""

    def __init__(
        self,
        pool: Pool,
        work: Callable[[Shard, str, Stop], Coroutine[object, object, None]],
        holding: Callable[[Sequence[Shard]], Awaitable[Collection[Shard]]],
        workable: Callable[[str, str], bool],
        only: Collection[str] = (),
        left_out: Collection[str] = (),
    ) -> None:
        self._pool, self._work, self._holding, self._workable = pool, work, holding, workable
        self._only, self._left_out = frozenset(only), frozenset(left_out)
        self._tasks = asyncio.TaskGroup()
        self._running: dict[Shard, Running] = {}
        self._looked = False
        self._missing: frozenset[str] = frozenset()
        self._unworkable: Mapping[str, str] = {}

    async def run(self, stop: Stop) -> None:
        """Until asked to stop, and until all lanes have ended. An error of a lane ends them all."""
        async with self._tasks:
            looking = self._tasks.create_task(run_loop("worker.channels", self.look, asyncio.Event(), stop))
            await stop.asked.wait()
            looking.cancel()
            for shard in self._running.values():
                shard.stop.ask()

    async def look(self) -> float:
        """One look. Repeating it changes nothing."""
        async with self._pool.acquire() as connection:
            rows = await channels.kinds(connection)
        found = [each for each in rows if each.name not in self._left_out]
        ours = [each for each in found if self._workable(each.name, each.kind)]
        if self._only:
            ours = [each for each in ours if each.name in self._only]
        self._note_missing(self._only - {each.name for each in ours})
        self._note_unworkable(
            {each.name: each.kind for each in found if not self._workable(each.name, each.kind)}
        )
        wanted = await self._wanted(ours)
        self._running = {shard: each for shard, each in self._running.items() if not each.task.done()}
        end, begin = moves({shard: each.kind for shard, each in self._running.items()}, wanted)
        for shard in end:
            self._end(shard)
        for shard in begin:
            self._begin(shard, wanted[shard])
        self._looked = True
        return LOOK_SECONDS

    def check(self) -> str | None:
        """For /readyz: a worker without lanes would let the one before it be stopped too early."""
        return None if self._looked else "it is not known yet which channels there are"

    async def _wanted(self, channels: Sequence[Kind]) -> dict[Shard, str]:
        """Every shard that something may come into; of the others those that hold something."""
        kinds = {each.name: each.kind for each in channels}
        now = [Shard(each.name, number) for each in channels for number in range(each.shards)]
        old = [Shard(each.name, number) for each in channels for number in range(each.shards, each.readable)]
        return {shard: kinds[shard.channel] for shard in [*now, *(await self._holding(old) if old else ())]}

    def _begin(self, shard: Shard, kind: str) -> None:
        stop = Stop()
        task = self._tasks.create_task(self._work(shard, kind, stop))
        self._running[shard] = Running(kind, stop, task)
        log.info("worker.channel_begun", channel=shard.channel, shard=shard.number, kind=kind)

    def _end(self, shard: Shard) -> None:
        stop = self._running[shard].stop
        if not stop:
            log.info("worker.channel_ended", channel=shard.channel, shard=shard.number)
            stop.ask()

    def _note_unworkable(self, unworkable: Mapping[str, str]) -> None:
        """A row from before that was refused: nobody has a module for it. It is said once."""
        for name in sorted(unworkable.keys() - self._unworkable.keys()):
            log.error(
                "worker.channel_unworkable",
                channel=name,
                kind=unworkable[name],
                reason="only the channel named as its kind is worked on; switch this one off, and make it a webhook's",
            )
        self._unworkable = unworkable

    def _note_missing(self, missing: frozenset[str]) -> None:
        """A name that no row bears (yet): it is waited for, and said once."""
        for name in sorted(missing - self._missing):
            log.warning("worker.channel_unknown", channel=name, reason="notify.channels has no such row yet")
        self._missing = missing


async def shards_that_hold(nodes: Nodes, keys: Keys, shards: Sequence[Shard]) -> set[Shard]:
    """Those with an entry in one of their lanes. What is settled leaves its stream, so that is all there is to do."""
    streams = {keys.stream(shard.channel, lane, shard.number): shard for shard in shards for lane in LANES}
    holding = set()
    for together in await nodes.grouped(streams):
        async with nodes.at(together[0]) as redis:
            pipe = redis.pipeline(transaction=False)
            for stream in together:
                pipe.xlen(stream)
            lengths = await pipe.execute()
        holding |= {streams[stream] for stream, length in zip(together, lengths, strict=True) if length}
    return holding
