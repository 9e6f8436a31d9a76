"""The processes of `outbox up`: started with a lifeline, restarted when they die, stopped in order.

Safe to kill: the input of each is a pipe that nobody writes to. It ends with this process, SIGKILL
included, and a process started with --parent-pipe then stops (outbox.cli.lifeline).
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from outbox.local.up_lines import Lines, paint
from outbox.service import Stop, backoff, wait

LINE_BYTES = 1 << 20
STEADY_SECONDS = 5.0  # who lived as long starts again at once


@dataclass(frozen=True, slots=True)
class Program:
    """One `outbox` command to keep running. `port` is where its probes are; None where it has none."""

    name: str
    words: tuple[str, ...]
    port: int | None = None


class Processes:
    """All of them. `keep` runs one until `stop` is called for it."""

    def __init__(self, environment: Mapping[str, str], lines: Lines) -> None:
        self.environment = dict(environment)
        self.lines = lines
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.stop = Stop()

    async def keep(self, program: Program) -> None:
        failures = 0
        while not self.stop:
            began = time.monotonic()
            code = await self.run(program)
            if self.stop:
                return
            failures = 0 if time.monotonic() - began > STEADY_SECONDS else failures + 1
            pause = backoff(failures, base=0.25)
            again = f"{program.name} {ended(code)}; starting it again in {pause:.1f} s"
            self.lines.say("outbox", paint(again, "1;31"))
            await wait(self.stop.asked, pause)

    async def run(self, program: Program) -> int:
        """Run it once, its lines under its name. Returns its exit code, or minus the signal."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "outbox.cli", "--parent-pipe", *program.words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environment,
            limit=LINE_BYTES,
            start_new_session=True,  # Ctrl-C is for `outbox up`, which stops them in order
        )
        self.running[program.name] = process
        if self.stop:  # asked while it was being started
            reap(process)
        try:
            await self.copy(program.name, process)
            return await process.wait()
        finally:
            self.running.pop(program.name, None)
            reap(process)

    async def copy(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None, "started with a pipe"
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                self.lines.say(name, f"(a line of more than {LINE_BYTES} bytes)")
                continue
            if not line:
                return
            self.lines.say(name, line.decode(errors="replace").rstrip())

    async def end(self, names: Iterable[str], grace: float) -> None:
        """SIGTERM, so many seconds, SIGKILL."""
        self.stop.ask()
        concerned = [process for name in names if (process := self.running.get(name))]
        for process in concerned:
            with suppress(ProcessLookupError):
                process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.gather(*(process.wait() for process in concerned))
        for process in concerned:
            reap(process)

    def kill(self) -> None:
        """All of them, now."""
        self.stop.ask()
        for process in self.running.values():
            reap(process)


def reap(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of the process and of those it started: they are in a session of their own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return "ended" if code == 0 else f"ended with code {code}"
