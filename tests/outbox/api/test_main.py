"""The API as it runs: a real socket, its probes, and a stop that lets a request end."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from db.pool import Connection
from outbox.api.main import SILENCE_SECONDS, Pulse, main
from outbox.local.ports import any_free
from outbox.service import Stop
from outbox.settings import Settings

ONE: dict[str, Any] = {"event_type": "order.paid", "user_id": "u-1"}


@pytest.fixture
async def running(settings: Settings, token: str) -> AsyncIterator[tuple[httpx.AsyncClient, Stop]]:
    """The API on a free port, until the test ends or asks it to stop."""
    port, stop = any_free(), Stop()
    serving = asyncio.create_task(main(settings.model_copy(update={"api_port": port}), stop))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        await until_open(client, serving)
        yield client, stop
    stop.ask()
    async with asyncio.timeout(60):
        await serving


async def until_open(client: httpx.AsyncClient, serving: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(60):
        while not serving.done():
            try:
                await client.get("/healthz")
            except httpx.ConnectError:
                await asyncio.sleep(0.01)
            else:
                return
    await serving


async def test_it_takes_a_notification_and_tells_of_it(
    running: tuple[httpx.AsyncClient, Stop], admin: Connection
) -> None:
    client, _ = running
    answer = await client.post("/v1/notifications", json=ONE)
    assert answer.status_code == 202
    assert await admin.fetchval("SELECT id::text FROM notify.notifications") == answer.json()["id"]
    shown = await client.get(answer.headers["location"])
    assert shown.json()["status"] == "pending"
    assert "server" not in shown.headers


async def test_its_probes_tell_of_postgres(running: tuple[httpx.AsyncClient, Stop]) -> None:
    client, _ = running
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]) == (200, {"postgres": "ok", "stopping": "ok"})
    assert "outbox_api_requests_total" in (await client.get("/metrics")).text


async def test_a_413_over_the_wire_is_a_problem(running: tuple[httpx.AsyncClient, Stop]) -> None:
    client, _ = running
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/v1/notifications", content=b"x" * 1_100_000, headers=headers)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_request_under_way_is_finished_when_it_stops(
    running: tuple[httpx.AsyncClient, Stop], admin: Connection
) -> None:
    client, stop = running
    async with admin.transaction():
        await admin.execute("LOCK TABLE notify.notifications IN EXCLUSIVE MODE")
        request = asyncio.create_task(client.post("/v1/notifications", json=ONE))
        await until_waiting(admin)
        stop.ask()
    answer = await request
    assert answer.status_code == 202
    assert await admin.fetchval("SELECT id::text FROM notify.notifications") == answer.json()["id"]


async def test_before_it_stops_it_says_so_and_goes_on_and_lets_connections_end(
    running: tuple[httpx.AsyncClient, Stop],
) -> None:
    """A client that keeps connections would else send its next request down one that is being closed."""
    client, stop = running
    before = await client.post("/v1/notifications", json=ONE)
    assert "connection" not in before.headers
    stop.announce()
    told = await client.get("/readyz")
    assert (told.status_code, told.json()["checks"]["stopping"]) == (503, "the process is about to stop")
    after = await client.post("/v1/notifications", json=ONE)
    assert (after.status_code, after.headers["connection"]) == (202, "close")


async def until_waiting(admin: Connection) -> None:
    waiting = "SELECT true FROM pg_locks WHERE NOT granted AND relation = 'notify.notifications'::regclass"
    deadline = time.monotonic() + 60
    while not await admin.fetchval(waiting):
        assert time.monotonic() < deadline, "the request never reached the table"


async def test_a_silent_postgres_makes_it_unready(pool: Any) -> None:
    pulse = Pulse(pool)
    assert pulse.check() is None
    pulse.answered -= SILENCE_SECONDS + 1
    assert pulse.check() == "Postgres has not answered for 6 s"
    await pulse.step()
    assert pulse.check() is None
