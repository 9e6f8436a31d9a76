"""One process of the service, on its port for good: stopped, killed, and started again, with other code if need be."""

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import OUTBOX, ROOT, Running, Service, running


@dataclass(slots=True)
class Replica:
    name: str
    words: tuple[str, ...]
    port: int
    env: dict[str, str]
    log: Path
    tree: Path = ROOT  # whose code it runs
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    process: Running | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        made = running([*OUTBOX, *self.words], self.env, self.log, self.tree)
        self.process = await self.stack.enter_async_context(made)

    async def ready(self) -> None:
        """Raises NotReadyError."""
        assert self.process
        await Service(self.process, self.port).ready()
        self.up.set()

    async def kill(self) -> None:
        assert self.process
        self.up.clear()
        self.process.process.send_signal(signal.SIGKILL)
        await self.process.process.wait()
        await self.stack.aclose()

    async def stop(self) -> int:
        """As an orchestrator would. Gives its exit status."""
        assert self.process
        self.up.clear()
        await self.stack.aclose()
        status = self.process.process.returncode
        return -1 if status is None else status
