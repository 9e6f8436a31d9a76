"""A Redis of the run's own that can be killed and comes back with its log, on the same port."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from outbox.local.binaries import find_redis
from outbox.local.ports import any_free

READY_SECONDS = 30.0


@dataclass(slots=True)
class Valkey:
    folder: Path
    port: int
    process: asyncio.subprocess.Process | None = None

    @classmethod
    def make(cls, folder: Path) -> "Valkey":
        folder.mkdir()
        return cls(folder, any_free())

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(find_redis().exe), *words, stdout=log, stderr=log
            )
        async with asyncio.timeout(READY_SECONDS), Redis.from_url(self.url) as client:
            while not await answers(client):  # noqa: ASYNC110 - Redis is asked
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


async def answers(client: Redis) -> bool:
    """Also false while it still reads its log."""
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
