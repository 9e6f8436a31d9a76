"""Real processes that tell a real collector, a mail server and a receiver of webhooks."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

import gateway.main
import outbox.api.main
import relay.main
import workers.main
from bench.tracing.collector import Collector, Told
from db.pool import Connection
from outbox import tracing
from outbox.local.doubles.serving import running
from outbox.local.doubles.webhook import Receiver, new_secret
from outbox.local.ports import any_free
from outbox.service import Stop
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.e2e.conftest import Service
from tests.gateway.harness import answers, eventually
from tests.workers.mail import mail_server

READY_SECONDS = 200  # four processes that start at once, on a machine that others keep busy
ADDRESS = "ada.lovelace@example.com"
SECRET = new_secret(b"a-secret-of-the-tests-24")


def context(flags: str = "01") -> str:
    """Of a caller that traces."""
    return f"00-{uuid4().hex}-{uuid4().hex[:16]}-{flags}"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector().up() as made:
        yield made


@pytest.fixture
def traced(collector: Collector, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process tells the collector, under the name outbox-test."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    tracing.start(settings.model_copy(update={"otlp_endpoint": collector.url}), "test")
    yield
    tracing.stop()


@dataclass(slots=True)
class Site(Service):
    """The whole service, and whom it tells."""

    collector: Collector = field(kw_only=True)
    receiver: Receiver = field(kw_only=True)

    async def trace(self, traceparent: str, deliveries: int) -> list[Told]:
        """Once so many deliveries are through, and the span of the request is there."""
        trace_id = traceparent[3:35]

        def whole(collector: Collector) -> bool:
            kinds = [span.kind for span in collector.of(trace_id) if not span.name.startswith("push ")]
            return kinds.count("CONSUMER") >= deliveries and "SERVER" in kinds

        await self.collector.until(whole)
        return self.collector.of(trace_id)


@asynccontextmanager
async def process(name: str, env: dict[str, str], folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with (folder / f"{name}.log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "outbox.cli", name), env=env, stdout=log, stderr=log
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        async with asyncio.timeout(60):
            await child.wait()


def environment(settings: Settings, ports: dict[str, int], more: dict[str, str]) -> dict[str, str]:
    given = {
        "DATABASE_URL": settings.database,
        "REDIS_URL": settings.redis,
        "OUTBOX_STATE": "/nonexistent",
        "OUTBOX_REDIS_PREFIX": settings.redis_prefix,
        "OUTBOX_ENV": "development",
        "OUTBOX_LOG": "json",
        "OUTBOX_JWT_SECRET": settings.jwt_secret.get_secret_value(),
        "OUTBOX_RETRY_BASE": "0.05",
        "OUTBOX_RELAY_POLL": "1",
        "OUTBOX_SHUTDOWN_GRACE": "5",
        "OUTBOX_EGRESS_ALLOW": "127.0.0.0/8",
        "HOOK_SECRET": SECRET,
    }
    return os.environ | given | {f"OUTBOX_{key.upper()}": str(port) for key, port in ports.items()} | more


async def ready(http: httpx.AsyncClient, ports: Sequence[int]) -> None:
    async with asyncio.timeout(READY_SECONDS):
        for port in ports:
            while not await is_ready(http, port):  # noqa: ASYNC110 - a process that starts sets no Event
                await asyncio.sleep(0.05)


async def is_ready(http: httpx.AsyncClient, port: int) -> bool:
    try:
        return (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success
    except httpx.TransportError:
        return False


@asynccontextmanager
async def outside(
    settings: Settings, admin: Connection, collector: Collector, ports: dict[str, int]
) -> AsyncIterator[Site]:
    """What the service is surrounded by, and a recipient, ada."""
    receiver = Receiver(SECRET)
    token = issue(settings, "shop", Scope.PRODUCER, timedelta(minutes=5))
    base, headers = f"http://127.0.0.1:{ports['api_port']}", {"Authorization": f"Bearer {token}"}
    async with (
        mail_server() as mail,
        running(receiver.double),
        httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as http,
    ):
        await arrange(admin, receiver)
        yield Site(settings.model_copy(update=ports), http, mail, collector=collector, receiver=receiver)


@asynccontextmanager
async def processes(made: Site, ports: dict[str, int], folder: Path) -> AsyncIterator[None]:
    """API, relay, worker and gateway, each on its own."""
    more = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": made.collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "SMTP_URL": f"smtp://127.0.0.1:{made.mail.port}?tls=none",
    }
    env = environment(made.settings, ports, more)
    async with AsyncExitStack() as stack:
        for name in ("api", "relay", "worker", "gateway"):
            await stack.enter_async_context(process(name, env, folder))
        await ready(made.http, list(ports.values()))
        yield


@pytest.fixture
async def road(
    settings: Settings,
    admin: Connection,
    redis: object,
    collector: Collector,
    traced: None,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Site]:
    """All of it in this process."""
    ports = {"api_port": any_free(), "gateway_port": any_free()}
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    settings = settings.model_copy(update={"egress_allow": ["127.0.0.0/8"]})
    async with outside(settings, admin, collector, ports) as made:
        monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{made.mail.port}?tls=none")
        stop = Stop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(outbox.api.main.main(made.settings, stop))
            tasks.create_task(relay.main.main(made.settings, stop))
            tasks.create_task(workers.main.main(made.settings, [], stop))
            tasks.create_task(gateway.main.main(made.settings, stop))
            await eventually(lambda: all(answers(port) for port in ports.values()))
            yield made
            stop.ask()


async def arrange(admin: Connection, receiver: Receiver) -> None:
    await admin.execute("INSERT INTO notify.recipients (user_id, email) VALUES ('ada', $1)", ADDRESS)
    await admin.execute(
        "INSERT INTO notify.webhook_endpoints (channel, user_id, url) VALUES ('webhook', 'ada', $1)",
        f"{receiver.double.url}/ada",
    )
    await admin.execute(
        "UPDATE notify.channels SET config = $1 WHERE name = 'webhook'",
        json.dumps({"secrets": ["env:HOOK_SECRET"], "timeout_seconds": 2}),
    )
