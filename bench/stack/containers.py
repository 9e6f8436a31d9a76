"""The stack itself: `outbox up` in a state directory and on ports of its own, and `docker compose` for the rest."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from outbox.local import compose, env
from outbox.local.ports import LOOPBACK, any_free
from outbox.settings import PROJECT

UP_SECONDS = 1800  # the image is built the first time
REPLICATED = ("api-", "relay-", "gateway-", "worker-")


@dataclass(slots=True)
class Containers:
    state: Path
    values: Mapping[str, str] = field(default_factory=dict)

    async def up(self) -> None:
        """Returns when every container is healthy. Raises RuntimeError with what was said where it does not come up."""
        used: set[int] = set()
        for name in compose.PORTS:
            used.add(port := any_free(used))
            os.environ[name] = str(port)
        os.environ["OUTBOX_STATE"] = str(self.state)
        log = self.state.with_suffix(".log")
        with log.open("wb") as out:
            words = (sys.executable, "-m", "outbox.cli", "up", "--detach")
            process = await asyncio.create_subprocess_exec(*words, cwd=PROJECT, stdout=out, stderr=out)
            async with asyncio.timeout(UP_SECONDS):
                code = await process.wait()
        if code:
            raise RuntimeError(f"`outbox up` failed:\n{log.read_text(errors='replace')[-2000:]}")
        self.values = env.read(self.state, compose.PASSWORDS_FILE)

    def down(self) -> None:
        if compose.started(self.state):
            line = compose.command(
                self.state, "--profile", compose.WATCH, "down", "--volumes", "--timeout", "5"
            )
            known = compose.environment(self.state)
            subprocess.run(line, cwd=PROJECT, env=known, check=False, capture_output=True)

    async def call(self, *words: str) -> bytes:
        """`docker compose …`, quietly. Raises RuntimeError with what it said."""
        process = await asyncio.create_subprocess_exec(
            *compose.command(self.state, *words),
            cwd=PROJECT,
            env=compose.environment(self.state),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        said, complained = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"docker compose {' '.join(words)}: {complained.decode().strip()[-500:]}")
        return said

    async def services(self) -> list[str]:
        """All that run: those that others stand on come first, then those that there are two of."""
        named = (await self.call("config", "--services")).decode().split()
        return sorted((name for name in named if name != "migrate"), key=lambda name: (is_ours(name), name))

    async def kill(self, service: str) -> None:
        await self.call("kill", service)

    async def start(self, service: str) -> None:
        """What was killed by hand stays down, whatever the restart policy. Returns when it is healthy."""
        await self.call("up", "--detach", "--wait", "--no-deps", "--no-recreate", "--no-build", service)

    async def restart_all(self) -> None:
        """As docs/operating.md says it is done."""
        line = compose.command(self.state)[2:]
        process = await asyncio.create_subprocess_exec(
            str(PROJECT / "deploy" / "rolling-restart.sh"),
            *line,
            cwd=PROJECT,
            env=compose.environment(self.state),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"rolling-restart.sh: {said.decode().strip()[-500:]}")

    def postgres(self, role: str, password: str) -> str:
        port = self.values["OUTBOX_POSTGRES_PORT"]
        return f"postgresql://{role}:{self.values[password]}@{LOOPBACK}:{port}/outbox"

    @property
    def superuser_url(self) -> str:
        return self.postgres("postgres", "POSTGRES_PASSWORD")

    @property
    def producer_url(self) -> str:
        return self.postgres("outbox_demo_producer", "PRODUCER_PASSWORD")

    @property
    def front_url(self) -> str:
        return f"http://{LOOPBACK}:{self.values['OUTBOX_API_PORT']}"


def is_ours(service: str) -> bool:
    return service.startswith(REPLICATED)
