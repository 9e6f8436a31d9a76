"""The driver's side of the nursery: start a process, know when it has ended, signal it."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Kin:
    """All processes of a run, by pid. They end with the nursery, and that ends with this process."""

    nursery: asyncio.subprocess.Process
    started: "asyncio.Queue[int]" = field(default_factory=asyncio.Queue)
    ended: dict[int, asyncio.Event] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    reading: "asyncio.Task[None] | None" = None

    @classmethod
    async def open(cls) -> "Kin":
        nursery = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.chaos.nursery"),
            cwd=Path(__file__).parent.parent.parent,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        kin = cls(nursery)
        kin.reading = asyncio.create_task(kin.read())
        return kin

    async def read(self) -> None:
        assert self.nursery.stdout
        while line := await self.nursery.stdout.readline():
            match json.loads(line):
                case {"started": pid}:
                    self.ended[pid] = asyncio.Event()
                    self.started.put_nowait(pid)
                case {"ended": pid}:
                    self.ended[pid].set()

    async def start(self, **order: Any) -> int:
        assert self.nursery.stdin
        async with self.lock:
            self.nursery.stdin.write(json.dumps(order).encode() + b"\n")
            async with asyncio.timeout(20):
                return await self.started.get()

    def lives(self, pid: int) -> bool:
        return pid in self.ended and not self.ended[pid].is_set()

    async def end(self, pid: int, number: int = signal.SIGKILL, patience: float = 20) -> None:
        """Send the signal and wait for the end; kill -9 what does not listen."""
        if not self.lives(pid):
            return
        os.kill(pid, number)
        try:
            async with asyncio.timeout(patience):
                await self.ended[pid].wait()
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            await self.ended[pid].wait()

    async def end_tree(self, pid: int) -> None:
        """kill -9 of a process and its children at one blow, as when a machine is lost."""
        for victim in (pid, *children(pid)):
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        await self.ended[pid].wait()

    async def close(self) -> None:
        assert self.nursery.stdin
        self.nursery.stdin.close()
        await self.nursery.wait()
        if self.reading:
            await self.reading


def children(pid: int) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
