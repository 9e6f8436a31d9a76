"""Producers by SQL and by HTTP, and people with a socket open: what a small shop does on a busy day."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import asyncpg
import httpx
import jwt
import websockets

from bench.channels import producer
from bench.processes import JWT_SECRET

SOCKETS = 60
ROWS_A_SECOND, POSTS_A_SECOND = 40.0, 12.0
BURST, BURST_EVERY_SECONDS = 1_500, 45.0
LATER = """
INSERT INTO notify.outbox (event_type, user_id, channels, payload, deliver_at)
SELECT 'bench.later', 'u' || i, '{inapp}', '{"title": "It is time"}', now() + make_interval(secs => 3 + i % 20)
FROM generate_series(1, 40) i
"""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where to come in: a producer's database URL, the API's and the gateways' ports."""

    database: str
    api: int
    gateways: tuple[int, ...]


def token(subject: str, scope: str, lasts: timedelta = timedelta(hours=6)) -> str:
    claims = {"sub": subject, "scope": scope, "iss": "outbox", "aud": "outbox"}
    return jwt.encode(claims | {"exp": datetime.now(UTC) + lasts}, JWT_SECRET, "HS256")


async def crowd(doors: Doors, seconds: float) -> None:
    """All of them, for so long."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(producer.steady(doors.database, ROWS_A_SECOND, seconds))
        tasks.create_task(bursts(doors, seconds))
        tasks.create_task(posts(doors, seconds))
        people = [tasks.create_task(person(doors, number)) for number in range(1, SOCKETS + 1)]
        await asyncio.sleep(seconds)
        for one in people:
            one.cancel()


async def bursts(doors: Doors, seconds: float) -> None:
    """A newsletter now and then, and reminders for later."""
    ends = asyncio.get_running_loop().time() + seconds
    conn = await asyncpg.connect(doors.database)
    try:
        while asyncio.get_running_loop().time() < ends - 1:
            await producer.insert(conn, 1, BURST)
            await conn.execute(LATER)
            await asyncio.sleep(min(BURST_EVERY_SECONDS, max(ends - asyncio.get_running_loop().time(), 0)))
    finally:
        await conn.close()


async def posts(doors: Doors, seconds: float) -> None:
    """Requests, of which some are wrong; now and then somebody looks at the lists."""
    ends = asyncio.get_running_loop().time() + seconds
    made = {"Authorization": f"Bearer {token('shop', 'producer')}"}
    looks = {"Authorization": f"Bearer {token('ops', 'admin')}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{doors.api}", timeout=30) as client:
        for number in count():
            if asyncio.get_running_loop().time() > ends:
                return
            body = {"event_type": "bench.post", "user_id": f"u{1 + number % SOCKETS}", "channels": ["inapp"]}
            if number % 20 == 7:
                body["user_id"] = ""
            with suppress(httpx.TransportError):
                await client.post("/v1/notifications", json=body, headers=made)
                if number % 30 == 11:
                    await client.get("/v1/notifications?limit=20", headers=looks)
            await asyncio.sleep(1 / POSTS_A_SECOND)


async def person(doors: Doors, number: int) -> None:
    """A socket that is open; it comes back where it is closed, and leaves by itself at times. Some have a token that
    ends soon, one comes with what is none."""
    port = doors.gateways[number % len(doors.gateways)]
    while True:
        lasts = timedelta(seconds=15) if number % 20 == 7 else timedelta(hours=1)
        mine = "none" if number == 1 else token(f"u{number}", "user", lasts)
        said = [websockets.Subprotocol(word) for word in ("outbox.v1", f"bearer.{mine}")]
        with suppress(OSError, websockets.WebSocketException, TimeoutError):
            async with websockets.connect(f"ws://127.0.0.1:{port}/v1/ws", subprotocols=said) as socket:
                async with asyncio.timeout(20 + number % 40):
                    async for _ in socket:
                        pass
        await asyncio.sleep(1)
