"""Which channels this process works on: the rows of notify.channels, looked at every second, so that one that is added
gets its lanes without a deploy, and one that is removed loses them.

A channel that is switched off keeps its lanes: what is on its way is settled as suppressed, and its streams run dry.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass

from db import channels
from db.pool import Pool
from outbox.log import get
from outbox.service import Stop, run_loop

log = get("worker")

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """The lanes of one channel. They end when `stop` is asked."""

    kind: str
    stop: Stop
    task: asyncio.Task[None]


def moves(running: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Which channels to end and which to begin, by name → kind. One that is ending begins again once it has ended."""
    end = [name for name, kind in running.items() if wanted.get(name) != kind]
    begin = [name for name in wanted if name not in running]
    return end, begin


class Fleet:
    """The channels at work here. `work` runs one channel's lanes until its Stop is asked; `workable` says by name and
    kind whether there is a module for it; `only` restricts it to some names."""

    def __init__(
        self,
        pool: Pool,
        work: Callable[[str, str, Stop], Coroutine[object, object, None]],
        workable: Callable[[str, str], bool],
        only: Collection[str] = (),
    ) -> None:
        self._pool, self._work, self._workable, self._only = pool, work, workable, frozenset(only)
        self._tasks = asyncio.TaskGroup()
        self._running: dict[str, Running] = {}
        self._looked = False
        self._missing: frozenset[str] = frozenset()
        self._unworkable: Mapping[str, str] = {}

    async def run(self, stop: Stop) -> None:
        """Until asked to stop, and until all lanes have ended. An error of a lane ends them all."""
        async with self._tasks:
            looking = self._tasks.create_task(run_loop("worker.channels", self.look, asyncio.Event(), stop))
            await stop.asked.wait()
            looking.cancel()
            for channel in self._running.values():
                channel.stop.ask()

    async def look(self) -> float:
        """One look. Repeating it changes nothing."""
        async with self._pool.acquire() as connection:
            found = await channels.kinds(connection)
        wanted = {name: kind for name, kind in found.items() if self._workable(name, kind)}
        if self._only:
            wanted = {name: kind for name, kind in wanted.items() if name in self._only}
        self._note_missing(self._only - wanted.keys())
        self._note_unworkable({name: kind for name, kind in found.items() if not self._workable(name, kind)})
        self._running = {name: each for name, each in self._running.items() if not each.task.done()}
        end, begin = moves({name: each.kind for name, each in self._running.items()}, wanted)
        for name in end:
            self._end(name)
        for name in begin:
            self._begin(name, wanted[name])
        self._looked = True
        return LOOK_SECONDS

    def check(self) -> str | None:
        """For /readyz: a worker without lanes would let the one before it be stopped too early."""
        return None if self._looked else "it is not known yet which channels there are"

    def _begin(self, name: str, kind: str) -> None:
        stop = Stop()
        task = self._tasks.create_task(self._work(name, kind, stop))
        self._running[name] = Running(kind, stop, task)
        log.info("worker.channel_begun", channel=name, kind=kind)

    def _end(self, name: str) -> None:
        stop = self._running[name].stop
        if not stop:
            log.info("worker.channel_ended", channel=name)
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
