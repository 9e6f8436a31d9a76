"""The whole road, idle: INSERT commit → WebSocket frame at a client, and → end of SMTP DATA at a server."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from time import perf_counter
from typing import Any

import asyncpg
from websockets.asyncio.client import ClientConnection, connect

from bench.load import COLUMNS
from bench.peers import payload
from bench.processes import JWT_SECRET, all_of, service
from bench.run import OURS, Goal, Result, Rounds, at_most, in_ms, of_rounds, order, percentile
from bench.servers import Database, Servers
from bench.session import Session
from bench.smtp import Sink, sink
from db.pool import Connection
from outbox.settings import Settings
from outbox.tokens import Scope, issue

USER = "ada"
GAP_SECONDS = (0.13, 0.23)  # everything has gone back to sleep
DEADLINE_SECONDS = 30
BLOCKS = 5
WARM = 3  # samples before those that count
INSERT = f"INSERT INTO notify.outbox ({COLUMNS}) VALUES ('bench.order', '{USER}', ARRAY[$1], $2::jsonb)"
RECIPIENT = f"INSERT INTO notify.recipients (user_id, email) VALUES ('{USER}', '{USER}@example.com')"
Arrival = Callable[[int], Awaitable[float]]


async def measure(session: Session) -> tuple[Result, list[Goal]]:
    servers, samples = await session.servers(), session.pick(10, 200)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(servers.fresh())
        async with servers.admin(database.name) as conn:
            await conn.execute(RECIPIENT)
        mail = await stack.enter_async_context(sink())
        ws = await stack.enter_async_context(road(servers, database, mail))
        producer = await asyncpg.connect(database.producer)
        stack.push_async_callback(producer.close)
        found = await sampled(session, producer, samples, {"inapp": framed(ws), "email": mailed(mail)})
    rounds = Rounds({OURS: blocks(found["inapp"]), "commit": blocks(found["commit"])})
    result = of_rounds(rounds, "ms", [], ["commit"])
    result.figure = percentile(found["inapp"], 50) * 1000
    smtp = in_ms(found["email"])
    result.detail |= in_ms(found["inapp"]) | {
        "smtp": smtp,
        "commit": in_ms(found["commit"]),
        "samples": samples,
    }
    return result, [
        at_most("WebSocket p50 ms", result.figure, 10),
        at_most("SMTP p50 ms", smtp["p50_ms"], 25),
    ]


def blocks(seconds: list[float]) -> list[float]:
    """The p50 of each of five parts, in ms."""
    size = len(seconds) // BLOCKS
    return [percentile(seconds[at * size : (at + 1) * size], 50) * 1000 for at in range(BLOCKS)]


@asynccontextmanager
async def road(servers: Servers, database: Database, mail: Sink) -> AsyncIterator[ClientConnection]:
    """Relay, a worker a channel, gateway; and a client's socket that has caught up."""
    smtp = f"smtp://127.0.0.1:{mail.port}?tls=none"
    start = partial(service, servers=servers, database=database, SMTP_URL=smtp)
    processes = (
        start("relay", "relay"),
        start("worker-inapp", "worker", "inapp"),
        start("worker-email", "worker", "email"),
        start("gateway", "gateway"),
    )
    async with all_of(*processes) as started, connect(f"ws://127.0.0.1:{started[-1].port}/v1/ws") as ws:
        await ws.send(json.dumps({"type": "auth", "token": token(servers, database), "cursor": 0}))
        while json.loads(await ws.recv())["type"] != "synced":
            pass
        yield ws


def token(servers: Servers, database: Database) -> str:
    settings = Settings(DATABASE_URL=database.service, REDIS_URL=servers.redis_url, jwt_secret=JWT_SECRET)
    return issue(settings, USER, Scope.USER, timedelta(hours=1))


def framed(ws: ClientConnection) -> Arrival:
    async def arrival(n: int) -> float:
        """When the frame with row n has come."""
        while True:
            frame: dict[str, Any] = json.loads(await ws.recv())
            at = perf_counter()
            if frame["type"] == "notification" and frame["payload"]["n"] == n:
                return at

    return arrival


def mailed(mail: Sink) -> Arrival:
    async def arrival(n: int) -> float:
        """When the mail of row n has ended."""
        at, message = await mail.ends.get()
        if payload(n)["title"].encode() not in message:
            raise RuntimeError(f"waited for the mail of row {n}, got another one")
        return at

    return arrival


async def sampled(
    session: Session, conn: Connection, samples: int, roads: dict[str, Arrival]
) -> dict[str, list[float]]:
    """Seconds, by channel, from the commit on; and those that the INSERT with its commit took. One row at a time."""
    found: dict[str, list[float]] = {name: [] for name in (*roads, "commit")}
    session.expect(samples)
    for n in range(1 - WARM, samples + 1):
        session.step("sample")
        for channel in order(list(roads), n):
            await asyncio.sleep(random.uniform(*GAP_SECONDS))
            waiting = asyncio.ensure_future(roads[channel](n))
            began_at = perf_counter()
            await conn.execute(INSERT, channel, json.dumps(payload(n)))
            committed_at = perf_counter()
            async with asyncio.timeout(DEADLINE_SECONDS):
                arrived_at = await waiting
            if n > 0:
                found[channel].append(arrived_at - committed_at)
                found["commit"].append(committed_at - began_at)
    return found
