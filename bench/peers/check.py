"""Tries every alternative for real: `python -m bench.peers.check [name …] [--rows N]`.

Each moves a backlog that was there before it started, then rows that come one by one, and must have moved all of
them. Prints rows/s and the latency from commit to entry. Not the benchmark: one short run each, nothing beside it.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis

from bench.peers import Peer, peers
from db.pool import connect
from outbox.local import postgres_server
from outbox.local.servers import Embedded

SINGLES = 20
DEADLINE_SECONDS = 300


@dataclass(frozen=True)
class Seen:
    rows_per_second: float
    p50_ms: float
    max_ms: float


@contextmanager
def servers() -> Iterator[Embedded]:
    """Durable, as a real queue is, and with the WAL that some alternatives read."""
    postgres_server.SETTINGS["wal_level"] = "logical"
    folder = Path(tempfile.mkdtemp(prefix="outbox-peers-"))
    try:
        with Embedded(folder / "state") as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def fresh_database(running: Embedded, name: str) -> tuple[str, str]:
    """The URLs of a new database, as its owner and as superuser."""
    owner = urlsplit(running.migrate_url)
    admin = await connect(running.admin_url, name="bench")
    try:
        await admin.execute(f'CREATE DATABASE "{name}" OWNER "{owner.username}"')
    finally:
        await admin.close()
    return owner._replace(path=f"/{name}").geturl(), urlsplit(running.admin_url)._replace(
        path=f"/{name}"
    ).geturl()


async def drained(redis: Redis, stream: str, rows: int) -> float:
    """Rows per second from the first entry to the last."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (before := await redis.xlen(stream)):  # noqa: ASYNC110 – as the benchmark: from the outside
            await asyncio.sleep(0.001)
        began = time.perf_counter()
        while await redis.xlen(stream) < rows:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return float((rows - before) / (time.perf_counter() - began))


async def single(peer: Peer, url: str, redis: Redis, stream: str, numbers: range) -> list[float]:
    """Milliseconds from each commit to its entry, the next row when the last one is there."""
    conn = await connect(url, name="bench")
    seen = []
    try:
        for n in numbers:
            waiting: asyncio.Future[Any] = asyncio.ensure_future(
                redis.xread({stream: "$"}, block=DEADLINE_SECONDS * 1000)
            )
            await asyncio.sleep(0.1)  # it blocks by then, and the consumer is idle
            await peer.insert(conn, n)
            committed = time.perf_counter()
            await waiting
            seen.append((time.perf_counter() - committed) * 1000)
    finally:
        await conn.close()
    return seen


async def try_out(peer: Peer, running: Embedded, rows: int) -> Seen:
    """Raises if a row is missing, comes twice or is not as it was written."""
    name = f"bench_{peer.name.replace('-', '_')}"
    url, admin_url = await fresh_database(running, name)
    redis = Redis.from_url(running.redis_url)
    await peer.prepare(url, admin_url)
    await peer.fill(url, rows)
    env = os.environ | {"DATABASE_URL": url, "REDIS_URL": running.redis_url, "STREAM": name}
    consumer = await asyncio.create_subprocess_exec(
        *peer.command(env), env=env, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert consumer.stdout
        rate = await drained(redis, name, rows)
        line = await asyncio.wait_for(consumer.stdout.readline(), DEADLINE_SECONDS)
        assert line == b"ready\n", line
        waits = await single(peer, url, redis, name, range(rows + 1, rows + SINGLES + 1))
    finally:
        if consumer.returncode is None:
            consumer.terminate()
        await asyncio.wait_for(consumer.wait(), DEADLINE_SECONDS)
    entries: Any = await redis.xrange(name)
    numbers = [json.loads(fields[b"payload"])["n"] for _, fields in entries]
    await redis.aclose()
    assert sorted(numbers) == list(range(1, rows + SINGLES + 1)), (len(numbers), len(set(numbers)))
    return Seen(rate, statistics.median(waits), max(waits))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers.check")
    parser.add_argument("names", nargs="*", metavar="name")
    parser.add_argument("--rows", type=int, default=1_000)
    given = parser.parse_args()
    chosen = [peer for peer in peers() if not given.names or peer.name in given.names]
    with servers() as running:
        for peer in chosen:
            if why := peer.available():
                print(f"{peer.name:24} not here: {why}")
                continue
            seen = asyncio.run(try_out(peer, running, given.rows))
            print(
                f"{peer.name:24} {seen.rows_per_second:8,.0f} rows/s"
                f"   p50 {seen.p50_ms:6.1f} ms   max {seen.max_ms:6.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
