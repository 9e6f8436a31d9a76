"""Rendering, seen from who wants it: a killable child process, and a second one for templates that hang."""

import asyncio
import json
import signal
import struct
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.templates import Template
from outbox.rendering.layouts import parts

CHILD = Path(__file__).parent / "sandbox.py"
RENDER_SECONDS = 0.5  # of the child's processor time
# Of the clock's. A child that does not answer by then is starved or frozen, and whatever it renders may be good.
ANSWER_SECONDS = 20.0
SUSPECT_SECONDS = 600.0
TOO_LONG: dict[str, Any] = {"error": "took too long", "part": "", "line": None}


@dataclass(frozen=True, slots=True)
class Rendered:
    """The parts of a message. A part whose template is empty is empty."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Starved:
    """The child had no time to render it: the machine is busy, or the worker was frozen."""


@dataclass(frozen=True, slots=True)
class Unrenderable:
    """Why there is no message: the template is named, and the line where it is known."""

    reason: str


class Renderer:
    """One child process, started when first needed. Requests queue up."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None

    async def ask(self, request: dict[str, Any]) -> dict[str, Any] | Starved:
        """The child's answer. A child that dies is replaced once: the cause may have been another's."""
        async with self._lock:
            for _ in range(2):
                try:
                    return await self._once(request)
                except TimeoutError:
                    await self._kill()
                    return Starved()
                except (ConnectionError, asyncio.IncompleteReadError):
                    if await self._kill() == -signal.SIGVTALRM:
                        return TOO_LONG
            return {"error": "ends the process that renders it", "part": "", "line": None}

    async def _once(self, request: dict[str, Any]) -> dict[str, Any]:
        child = self._child or await self._start()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await exchange(child, request)
        except asyncio.CancelledError:
            await self._kill()  # its answer would be taken for the next one's
            raise

    async def _start(self) -> asyncio.subprocess.Process:
        # -I and an empty environment: no secrets, and nothing of this process's folder to import.
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(CHILD),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={},
        )
        return self._child

    async def _kill(self) -> int:
        """What it ended by, if it had ended by itself."""
        child, self._child = self._child, None
        if child is None:
            return 0
        with suppress(TimeoutError):  # its end is known a little later than its pipe's
            async with asyncio.timeout(0.5 if child.stdout and child.stdout.at_eof() else 0):
                await child.wait()
        if child.returncode is None:
            child.kill()
        return await child.wait()

    async def close(self) -> None:
        await self._kill()


async def exchange(child: asyncio.subprocess.Process, request: dict[str, Any]) -> dict[str, Any]:
    if child.stdin is None or child.stdout is None:
        raise BrokenPipeError("the child has no pipes")
    data = json.dumps(request).encode()
    child.stdin.write(struct.pack("!I", len(data)) + data)
    await child.stdin.drain()
    size = struct.unpack("!I", await child.stdout.readexactly(4))[0]
    answer: dict[str, Any] = json.loads(await child.stdout.readexactly(size))
    return answer


@dataclass(slots=True)
class Renderers:
    """Templates that took too long are rendered apart for a while, so that they only delay each other."""

    swift: Renderer = field(default_factory=Renderer)
    apart: Renderer = field(default_factory=Renderer)
    _suspects: dict[str, float] = field(default_factory=dict)

    async def render(
        self,
        template: Template,
        variables: dict[str, Any] | None,
        layouts: Mapping[str, Mapping[str, str]] = {},
    ) -> Rendered | Unrenderable | Starved:
        """`layouts`: the parts of what it extends or includes, by name. Without variables it is only compiled."""
        suspect = self._suspects.get(template.key, 0.0) > time.monotonic()
        answer = await (self.apart if suspect else self.swift).ask(
            {
                **parts(template),
                "layouts": layouts,
                "variables": variables,
                "seconds": RENDER_SECONDS,
            }
        )
        if isinstance(answer, Starved):
            self._suspects[template.key] = time.monotonic() + SUSPECT_SECONDS
            return answer
        if "error" in answer:
            if answer["error"] == TOO_LONG["error"]:
                self._suspects[template.key] = time.monotonic() + SUSPECT_SECONDS
            return Unrenderable(complaint(template, answer))
        return Rendered(answer["subject"], answer["text"], answer["html"])

    async def close(self) -> None:
        await self.swift.close()
        await self.apart.close()


def complaint(template: Template, answer: dict[str, Any]) -> str:
    part = f", {answer['part']}" if answer["part"] else ""
    part += f", in {answer['layout']!r}" if answer.get("layout") else ""
    line = f" line {answer['line']}" if answer["line"] else ""
    return f"template {template.name!r} version {template.version}{part}{line}: {answer['error']}"
