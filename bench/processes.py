"""Processes under measurement: those of the service, and the alternatives' consumers."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.servers import Database, Servers
from outbox.local.ports import any_free

ROOT = Path(__file__).parent.parent
OUTBOX = [sys.executable, "-m", "outbox.cli"]
READY_SECONDS = 60.0
END_SECONDS = 20.0
JWT_SECRET = "a-secret-of-the-benchmarks-of-32-bytes"


class NotReadyError(Exception):
    """A process ended, or said nothing, before it was ready; the message holds the end of its log."""


@asynccontextmanager
async def running(
    command: Sequence[str], env: Mapping[str, str], log: Path, tree: Path = ROOT
) -> AsyncIterator["Running"]:
    """The process, until the block ends; with it whatever it started."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=env,
            cwd=tree,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    run = Running(process, log, asyncio.Event())
    reading = asyncio.create_task(run.read())
    try:
        yield run
    finally:
        await end(process)
        await reading


async def end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what it left behind


@dataclass(slots=True)
class Running:
    """A process, and whether it has said `ready` on a line of its own."""

    process: asyncio.subprocess.Process
    log: Path
    said_ready: asyncio.Event

    async def read(self) -> None:
        assert self.process.stdout is not None
        with self.log.open("ab") as log:
            async for line in self.process.stdout:
                log.write(line)
                if line.strip() == b"ready":
                    self.said_ready.set()

    async def ready(self) -> None:
        """Raises NotReadyError."""
        said, ended = asyncio.create_task(self.said_ready.wait()), asyncio.create_task(self.process.wait())
        await asyncio.wait((said, ended), timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        said.cancel()
        ended.cancel()
        if not self.said_ready.is_set():
            raise NotReadyError(self.last_words())

    def check(self) -> None:
        """Raises NotReadyError if it has ended."""
        if self.process.returncode is not None:
            raise NotReadyError(f"ended with status {self.process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        return self.log.read_text(errors="replace").strip()[-400:] or "it said nothing"


def environment(servers: Servers, database: Database, **more: str) -> dict[str, str]:
    """Of the service's processes. A stream may grow as long as a backlog is."""
    return os.environ | {
        "OUTBOX_STATE": str(servers.folder / "none"),
        "DATABASE_URL": database.service,
        "REDIS_URL": servers.redis_url,
        "OUTBOX_JWT_SECRET": JWT_SECRET,
        "OUTBOX_ENV": "development",
        "OUTBOX_LOG": "json",
        "OUTBOX_STREAM_MAX_LENGTH": "100000000",
        **more,
    }


@asynccontextmanager
async def service(
    name: str, *command: str, servers: Servers, database: Database, **more: str
) -> AsyncIterator["Service"]:
    """`outbox <command>`, not necessarily ready yet, with its probes on a port of its own."""
    port = any_free()
    ports = dict.fromkeys(
        ("OUTBOX_RELAY_PORT", "OUTBOX_WORKER_PORT", "OUTBOX_GATEWAY_PORT", "OUTBOX_API_PORT"), str(port)
    )
    env = environment(servers, database, **ports | more)
    async with running([*OUTBOX, *command], env, servers.folder / f"{name}.log") as process:
        yield Service(process, port)


@dataclass(frozen=True, slots=True)
class Service:
    """A process of the service, and the port of its probes (the gateway: of its sockets, too)."""

    running: Running
    port: int

    async def ready(self) -> None:
        """Raises NotReadyError."""
        async with httpx.AsyncClient() as client, asyncio.timeout(READY_SECONDS):
            while True:
                self.running.check()
                with suppress(httpx.TransportError):
                    if (await client.get(f"http://127.0.0.1:{self.port}/readyz")).is_success:
                        return
                await asyncio.sleep(0.02)

    async def metric(self, name: str) -> float:
        """One sample of /metrics, by its name with labels as it stands there; 0 where there is none."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.port}/metrics")).text
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)


@asynccontextmanager
async def all_of(*services: AbstractAsyncContextManager["Service"]) -> AsyncIterator[list[Service]]:
    """Several at once, all of them ready."""
    async with AsyncExitStack() as stack:
        started = [await stack.enter_async_context(each) for each in services]
        for each in started:
            await each.ready()
        yield started
