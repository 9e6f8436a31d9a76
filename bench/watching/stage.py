"""What is watched: the ground of bench.channels, a second relay, the API and two gateways; and its trouble."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time

from bench.channels.ground import Ground, ground
from bench.processes import Service, service
from bench.watching.load import Doors
from bench.watching.server import Prometheus, watching

MEMORY_BYTES = 256 * 1024 * 1024
SHARE = 0.4  # of requests and connections that meet a fault while the providers are ill
AGAIN_SECONDS = 6.0
KEPT = {"OUTBOX_NOTIFICATION_RETENTION": "P90D"}  # so that there is something to tell of it
KEY = """
INSERT INTO notify.api_keys (id, name, hash, scopes, created_by, expires_at)
VALUES ('benchmarking', 'shop', decode(repeat('00', 32), 'hex'), '{producer}', 'bench', $1)
"""


@dataclass(slots=True)
class Stage:
    made: Ground
    prometheus: Prometheus
    leader: Service
    doors: Doors
    stack: AsyncExitStack
    events: list[tuple[float, str]] = field(default_factory=list)

    def note(self, what: str) -> None:
        self.events.append((time(), what))

    async def kill_the_leader(self) -> None:
        """kill -9; another one comes up in its place after a while."""
        self.note("leading relay killed")
        self.leader.running.process.kill()
        await asyncio.sleep(AGAIN_SECONDS)
        place = {"OUTBOX_RELAY_PORT": str(self.leader.port), **KEPT}
        await self.stack.enter_async_context(started(self.made, "relay-again", "relay", **place))

    async def flush(self) -> None:
        self.note("FLUSHALL")
        async with self.made.servers.redis() as redis:
            await redis.flushall()

    async def ill(self, seconds: float) -> None:
        self.note("providers fail")
        self.made.doubles.fail(SHARE)
        await asyncio.sleep(seconds)
        self.made.doubles.fail(0)
        self.note("providers are well")


def started(made: Ground, name: str, kind: str, **more: str) -> AbstractAsyncContextManager[Service]:
    return service(name, kind, servers=made.servers, database=made.database, **more)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    async with ground(folder) as made, AsyncExitStack() as stack:
        await prepare(made)
        kinds = {"relay-2": "relay", "api": "api", "gateway-1": "gateway", "gateway-2": "gateway"}
        # The certificate that people outside would see: here the one of a double.
        outside = {"OUTBOX_API_URL": made.doubles.receiver.double.url, **KEPT}
        more = {
            name: await stack.enter_async_context(started(made, name, kind, **outside))
            for name, kind in kinds.items()
        }
        for one in more.values():
            await one.ready()
        targets = {
            "outbox-relay": [made.relay, more["relay-2"]],
            "outbox-worker": made.workers,
            "outbox-api": [more["api"]],
            "outbox-gateway": [more["gateway-1"], more["gateway-2"]],
        }
        addresses = {job: [f"127.0.0.1:{one.port}" for one in them] for job, them in targets.items()}
        prometheus = await stack.enter_async_context(watching(folder / "prometheus", addresses))
        gateways = more["gateway-1"].port, more["gateway-2"].port
        doors = Doors(made.database.producer, more["api"].port, gateways)
        yield Stage(made, prometheus, made.relay, doors, stack)


async def prepare(made: Ground) -> None:
    """A limit for Redis' memory, and an API key that ends soon."""
    async with made.servers.redis() as redis:
        await redis.config_set("maxmemory", MEMORY_BYTES)
    async with made.servers.admin(made.database.name) as conn:
        await conn.execute(KEY, datetime.now(UTC) + timedelta(days=21))
