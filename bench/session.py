"""A run of one or more cases: its servers, its size, and what the person at the terminal sees of it."""

from collections.abc import Awaitable, Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import asyncpg
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from bench.measure import StalledError
from bench.peers import Peer, peers
from bench.peers.textbook import PEER as TEXTBOOK
from bench.peers.textbook import Textbook
from bench.processes import NotReadyError
from bench.run import ROUNDS, Rounds, order
from bench.servers import Servers

T = TypeVar("T")
Measure = Callable[[], Awaitable[float]]


# What an alternative's run may end with; anything else is a fault of the harness.
FAILURES = (
    OSError,
    TimeoutError,
    RuntimeError,
    asyncpg.PostgresError,
    RedisError,
    NotReadyError,
    StalledError,
)


class Size(StrEnum):
    SHORT = "short"  # seconds a case: whether everything still runs
    NORMAL = "normal"
    LONG = "long"


@dataclass(slots=True)
class Session:
    """What the cases share. Servers beside the main ones are started when first asked for."""

    folder: Path
    size: Size
    console: Console
    started: dict[str, Servers] = field(default_factory=dict)
    textbook: Textbook = TEXTBOOK  # with the page size that `drain` found best, once it has
    absent: dict[str, str] = field(default_factory=dict)  # peers that do not run here, and why
    expected: int = 0
    _bar: tuple[Progress, TaskID] | None = None

    def pick(self, short: T, normal: T, long: T | None = None) -> T:
        """A size, by the session's."""
        return {Size.SHORT: short, Size.NORMAL: normal, Size.LONG: normal if long is None else long}[
            self.size
        ]

    @property
    def rounds(self) -> int:
        return self.pick(1, ROUNDS)

    async def servers(self, name: str = "main", **postgres: str) -> Servers:
        if name not in self.started:
            servers = Servers(self.folder / name, postgres)
            await servers.start()
            self.started[name] = servers
        return self.started[name]

    async def servers_of(self, peer: Peer) -> Servers:
        return await (self.servers("logical", wal_level="logical") if peer.logical else self.servers())

    async def stop(self) -> None:
        for servers in self.started.values():
            await servers.stop()

    def peers(self) -> list[Peer]:
        """Those that can run here, without the textbook relay; why the others cannot goes into `absent`."""
        found = []
        for peer in peers():
            if peer.name == self.textbook.name:
                continue
            if (why := peer.available()) is not None:
                self.absent[peer.name] = why
            else:
                found.append(replace(peer, backlog=self.pick(500, peer.backlog)))
        return found

    async def alternate(
        self, runs: Mapping[str, Measure], *, beside: Container[str] = (), rounds: int | None = None
    ) -> Rounds:
        """Every run once a round, A B C, C B A, … What stands `beside` may fail: it is left out from then on,
        with its reason in `absent`."""
        found, number = Rounds(), rounds or self.rounds
        left = dict(runs)
        self.expect(number * len(left))
        for done in range(number):
            for name in order(list(left), done):
                self.step(f"{name}, round {done + 1} of {number}")
                try:
                    found.add(name, await left[name]())
                except FAILURES as error:
                    if name not in beside:
                        raise
                    self.leave_out(name, error)
                    found.values.pop(name, None)
                    del left[name]
        return found

    def leave_out(self, name: str, error: BaseException) -> None:
        self.absent[name] = f"failed: {type(error).__name__}: {error}"[:300]

    @contextmanager
    def progress(self, case: str) -> Iterator[None]:
        """A line that tells which run of the case is under way; on a terminal only."""
        columns = (SpinnerColumn(), TextColumn("{task.fields[case]:<10}"), BarColumn(24), MofNCompleteColumn(),
                   TimeElapsedColumn(), TextColumn("{task.description}"))  # fmt: skip
        shown = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        with shown:
            self._bar = (shown, shown.add_task("preparing", total=1, case=case))
            self.expected = 0
            yield
            self._bar = None

    def expect(self, steps: int) -> None:
        """So many more steps are known to come."""
        self.expected += steps
        if self._bar:
            self._bar[0].update(self._bar[1], total=self.expected)

    def step(self, description: str) -> None:
        """One of them begins."""
        if self._bar:
            self._bar[0].update(self._bar[1], description=description, advance=1)
