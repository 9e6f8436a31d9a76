"""What the picture is taken of: API, relay, worker and gateway as processes, a double for every provider, a browser's
socket, and a collector that all of them tell."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect

from bench.channels.ground import SETTINGS, Doubles, Ground
from bench.processes import JWT_SECRET, all_of, service
from bench.servers import Database, Servers
from bench.tracing.collector import Collector, Told
from outbox.local.doubles.faults import Kind
from outbox.local.doubles.http2 import Certificate
from outbox.settings import Settings
from outbox.tokens import Scope, issue

# Of bench/channels/people.sql: she has an address, a number, an endpoint, and a phone of each kind.
USER = "u3"
CHANNELS = ("inapp", "email", "sms", "push", "webhook")
STILL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Stage:
    """All of it, up and ready."""

    collector: Collector
    doubles: Doubles
    api: httpx.AsyncClient
    socket: ClientConnection

    async def warm(self) -> None:
        """Connections, templates and access tokens are there when the one that counts comes."""
        await self.send(f"00-{uuid4().hex}-{uuid4().hex[:16]}-00")

    async def send(self, traceparent: str) -> str:
        """By all five channels, until each has it. Gives its id."""
        document = {
            "event_type": "order.paid",
            "user_id": USER,
            "channels": CHANNELS,
            "payload": {"title": "Order 17 is paid", "body": "Thank you!"},
        }
        headers = {"traceparent": traceparent}
        answer = await self.api.post("/v1/notifications", json=document, headers=headers)
        answer.raise_for_status()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.arrived(answer.json()["id"]):  # noqa: ASYNC110 - as a person would look
                await asyncio.sleep(0.2)
        return str(answer.json()["id"])

    async def arrived(self, notification_id: str) -> bool:
        seen = (await self.api.get(f"/v1/notifications/{notification_id}")).json()
        return all(delivery["status"] == "delivered" for delivery in seen["deliveries"])

    async def trace(self) -> list[Told]:
        """Of one whose first e-mail provider fails, so that the second one is asked, and whose webhook fails once, so
        that it is tried again."""
        for name in ("sendgrid", "127.0.0.1"):
            self.doubles.odds[name].order(Kind.ANSWER, status=500)
        trace_id = uuid4().hex
        await self.send(f"00-{trace_id}-{uuid4().hex[:16]}-01")
        return await self.told(trace_id)

    async def told(self, trace_id: str) -> list[Told]:
        """Once nothing more comes."""
        seen = -1
        while len(self.collector.of(trace_id)) != seen or seen == 0:
            seen = len(self.collector.of(trace_id))
            await asyncio.sleep(STILL_SECONDS)
        return self.collector.of(trace_id)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    servers = Servers(folder / "servers")
    await servers.start()
    try:
        doubles = Doubles(await asyncio.to_thread(Certificate.kept, folder))
        async with servers.fresh() as database, doubles.up(), Collector().up() as collector:
            await Ground(servers, database, doubles).prepare()
            async with played(servers, database, doubles, collector) as made:
                yield made
    finally:
        await servers.stop()


@asynccontextmanager
async def played(
    servers: Servers, database: Database, doubles: Doubles, collector: Collector
) -> AsyncIterator[Stage]:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    env = SETTINGS | doubles.secrets() | told
    names = ("api", "relay", "worker", "gateway")
    processes = [service(name, name, servers=servers, database=database, **env) for name in names]
    async with all_of(*processes) as (api, _, _, gateway):
        settings = Settings(
            DATABASE_URL=database.service,
            REDIS_URL=servers.redis_url,
            jwt_secret=JWT_SECRET,
            env="development",
        )
        producer = {"Authorization": f"Bearer {issue(settings, 'shop', Scope.PRODUCER, timedelta(hours=1))}"}
        async with (
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{api.port}", headers=producer, timeout=20
            ) as client,
            connect(f"ws://127.0.0.1:{gateway.port}/v1/ws") as socket,
        ):
            token = issue(settings, USER, Scope.USER, timedelta(hours=1))
            await socket.send(json.dumps({"type": "auth", "token": token, "cursor": 0}))
            while json.loads(await socket.recv())["type"] != "synced":
                pass
            yield Stage(collector, doubles, client, socket)
