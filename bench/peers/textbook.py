"""The textbook relay: lock a page with SKIP LOCKED, pipeline its XADDs, DELETE it, all in one transaction.

`python -m bench.peers.textbook <page> <poll seconds>` is its consumer, on the service's own packages.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg
import uvloop
from redis.asyncio import Redis

from bench.peers import PAYLOAD_SQL, Peer, payload
from db.pool import Connection

PAGES = (500, 2000, 5000)
TABLES = """
CREATE TABLE outbox (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_type  text NOT NULL,
  user_id     text NOT NULL,
  payload     jsonb NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""
NOTIFY = """
CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_notify('outbox', ''); RETURN NULL; END $$;
CREATE TRIGGER outbox_notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();
"""
FILL = (
    "INSERT INTO outbox (event_type, user_id, payload)"
    f" SELECT 'bench.order', 'user' || i % 1000, {PAYLOAD_SQL} FROM generate_series(1, $1::int) i"
)
INSERT = "INSERT INTO outbox (event_type, user_id, payload) VALUES ('bench.order', $1, $2::jsonb)"
LOCK = "SELECT id, event_type, user_id, payload FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED"
DELETE = "DELETE FROM outbox WHERE id = ANY ($1::bigint[])"


@dataclass(frozen=True)
class Textbook(Peer):
    page: int = 2000
    poll_seconds: float = 1.0
    notify: bool = True  # a steady load is better polled: each NOTIFY takes a lock that all commits share

    async def prepare(self, url: str, admin_url: str) -> None:
        conn = await asyncpg.connect(url)
        await conn.execute(TABLES + (NOTIFY if self.notify else ""))
        await conn.close()

    async def fill(self, url: str, rows: int) -> None:
        conn = await asyncpg.connect(url)
        await conn.execute(FILL, rows)
        await conn.close()

    async def insert(self, conn: Connection, n: int) -> None:
        await conn.execute(INSERT, f"user{n % 1000}", json.dumps(payload(n)))

    def command(self, env: Mapping[str, str]) -> list[str]:
        return [sys.executable, "-m", "bench.peers.textbook", str(self.page), str(self.poll_seconds)]


PEER = Textbook("textbook", backlog=200_000)


async def relay(page: int, poll_seconds: float) -> None:
    """Until SIGTERM."""
    conn = await asyncpg.connect(os.environ["DATABASE_URL"])
    listener = await asyncpg.connect(os.environ["DATABASE_URL"])
    redis, stream = Redis.from_url(os.environ["REDIS_URL"]), os.environ["STREAM"]
    wake, stop = asyncio.Event(), asyncio.Event()
    await listener.add_listener("outbox", lambda *_: wake.set())

    def end() -> None:
        stop.set()
        wake.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    print("ready", flush=True)
    while not stop.is_set():
        wake.clear()
        if await move(conn, redis, stream, page) == page:
            continue
        try:
            async with asyncio.timeout(poll_seconds):
                await wake.wait()
        except TimeoutError:
            pass
    await redis.aclose()
    await listener.close()
    await conn.close()


async def move(conn: Connection, redis: "Redis", stream: str, page: int) -> int:
    """One page. How many rows it had."""
    async with conn.transaction():
        rows = await conn.fetch(LOCK, page)
        if rows:
            pipe = redis.pipeline(transaction=False)
            for _, event_type, user_id, body in rows:
                pipe.xadd(stream, {"event_type": event_type, "user_id": user_id, "payload": body})
            await pipe.execute()
            await conn.execute(DELETE, [row["id"] for row in rows])
    return len(rows)


if __name__ == "__main__":
    uvloop.run(relay(int(sys.argv[1]), float(sys.argv[2])))
