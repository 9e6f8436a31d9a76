"""What no relay can be faster than: writing the same entries to Redis, reading the same rows from Postgres."""

import asyncio
import socket
from collections.abc import Sequence
from time import perf_counter
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis

from bench.servers import Database, Servers
from db import relay as sql
from db.pool import connect
from relay.look import TICK_BYTES, TICK_ROWS
from relay.relay import BY_INDEX

PAGES = (200, 1000, 5000)
STREAM = "bench.limit"
Entry = tuple[bytes, dict[Any, Any]]


async def entries_of(redis: Redis, stream: str) -> list[Entry]:
    """Everything in a stream, to be written again by the limits: same ids, same bytes."""
    found: list[Entry] = []
    after = b"-"
    while page := cast("list[Entry]", await redis.xrange(stream, min=after, count=5000)):
        found += page
        after = b"(" + page[-1][0]
    return found


async def xadd(redis: Redis, entries: Sequence[Entry], page: int) -> float:
    """Entries a second, by redis-py's pipeline, from memory."""
    await redis.delete(STREAM)
    began_at = perf_counter()
    for start in range(0, len(entries), page):
        pipe = redis.pipeline(transaction=False)
        for entry_id, fields in entries[start : start + page]:
            pipe.xadd(STREAM, fields, id=entry_id)
        await pipe.execute()
    return len(entries) / (perf_counter() - began_at)


async def best_page(redis: Redis, entries: Sequence[Entry]) -> int:
    rates = {page: await xadd(redis, entries, page) for page in PAGES}
    return max(rates, key=lambda page: rates[page])


def packed(entries: Sequence[Entry]) -> bytes:
    """The same XADDs as they go over the wire (RESP)."""
    out = bytearray()
    for entry_id, fields in entries:
        words = [b"XADD", STREAM.encode(), entry_id]
        words += [word for field in fields.items() for word in field]
        out += b"*%d\r\n" % len(words)
        for word in words:
            out += b"$%d\r\n%b\r\n" % (len(word), word)
    return bytes(out)


async def xadd_raw(servers: Servers, entries: Sequence[Entry]) -> float:
    """Entries a second that the server itself takes: bytes made before, pushed down a socket."""
    async with servers.redis() as redis:
        await redis.delete(STREAM)
    return len(entries) / await asyncio.to_thread(push, servers.redis_url, packed(entries), len(entries))


def push(redis_url: str, data: bytes, commands: int) -> float:
    """Seconds until the server has answered all commands. Each answer is two lines."""
    url = urlsplit(redis_url)
    with socket.create_connection((url.hostname, url.port)) as conn:
        conn.sendall(f"AUTH {unquote(url.password or '')}\r\n".encode())
        assert conn.recv(100) == b"+OK\r\n"
        conn.setblocking(False)
        return asyncio.run(pushed(conn, data, 2 * commands))


async def pushed(conn: socket.socket, data: bytes, lines: int) -> float:
    loop = asyncio.get_running_loop()
    began_at = perf_counter()
    sending = asyncio.create_task(loop.sock_sendall(conn, data))
    seen = 0
    while seen < lines:
        answer = await loop.sock_recv(conn, 1 << 18)
        if not answer or answer.startswith(b"-"):
            raise OSError(f"Redis refused: {answer[:200]!r}")
        seen += answer.count(b"\n")
    await sending
    return perf_counter() - began_at


async def read(database: Database, rows: int) -> float:
    """Rows a second of the relay's own look, page by page over the same log, and nothing else."""
    conn = await connect(database.service, name="bench", **BY_INDEX)
    seen, xmax = 0, 0
    began_at = perf_counter()
    while seen < rows:
        records = await sql.look(conn, sql.Wanted(xmax, (), TICK_ROWS + 1, TICK_BYTES, 0))
        seen += records[0]["found"]
        xmax = records[0]["newest"] + 1  # a transaction a row: none is cut
    seconds = perf_counter() - began_at
    await conn.close()
    return seen / seconds
