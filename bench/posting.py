"""POST requests over connections that are kept, each client's next as soon as its last is answered: as little Python a
request as there can be, so that the server is what is measured."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import cast
from urllib.parse import urlsplit

from bench.peers import payload

FIRST = 10_000_000  # numbers of one length make bodies of one length
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


class RefusedError(RuntimeError):
    """A server answered something else than that the notification was taken."""


@dataclass(slots=True)
class Posts:
    """The requests of one run: numbered, their answers timed."""

    head: bytes
    tail: bytes
    number: int = FIRST
    going: bool = True
    seconds: list[float] = field(default_factory=list)

    def next(self) -> bytes:
        self.number += 1
        return b"%b%d%b" % (self.head, self.number, self.tail)


def posts(url: str, headers: Mapping[str, str]) -> Posts:
    """For `url`, with bodies of about 300 bytes."""
    document = {
        "event_type": "bench.order",
        "user_id": "user7",
        "channels": ["inapp"],
        "payload": payload(FIRST),
    }
    body = json.dumps(document).encode()
    before, _, after = body.partition(str(FIRST).encode())
    parts = urlsplit(url)
    lines = [
        f"POST {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return Posts("\r\n".join(lines).encode() + HEAD_END + before, after)


class Client(asyncio.Protocol):
    """One connection. `ended` is done when it has its last answer."""

    def __init__(self, run: Posts) -> None:
        self.run = run
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received = b""
        self.asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's is none by descent
        self.ask()

    def ask(self) -> None:
        self.asked_at = perf_counter()
        self.transport.write(self.run.next())

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not complete(self.received):
            return
        self.run.seconds.append(perf_counter() - self.asked_at)
        if not self.received.startswith(b"HTTP/1.1 202"):
            self.end(RefusedError(self.received[:600].decode(errors="replace")))
        elif self.run.going:
            self.received = b""
            self.ask()
        else:
            self.end()

    def connection_lost(self, error: Exception | None) -> None:
        self.end(error or RefusedError("the server hung up"))

    def end(self, error: Exception | None = None) -> None:
        if self.ended.done():
            return
        if error:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)
        self.transport.close()


def complete(received: bytes) -> bool:
    """Whether the answer is there with its body. Every server of the benchmark gives its length."""
    head, found, body = received.partition(HEAD_END)
    if not found:
        return False
    lower = head.lower()
    length = lower[lower.index(LENGTH) + len(LENGTH) :].partition(b"\r\n")[0]
    return len(body) >= int(length)


@dataclass(frozen=True, slots=True)
class Answered:
    """`taken`: all that were answered, the warm-up's too. The others are of the time that was measured. `busy`: the
    share of a core that asking took."""

    taken: int
    per_second: float
    seconds: list[float]
    busy: float


async def post(run: Posts, port: int, clients: int, warm_up: float, measured: float) -> Answered:
    """Raises RefusedError for any answer but 202."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        asking = []
        for _ in range(clients):
            transport, client = await loop.create_connection(lambda: Client(run), "127.0.0.1", port)
            stack.callback(transport.close)
            asking.append(client.ended)
        await asyncio.sleep(warm_up)
        began_at, began_cpu, before = perf_counter(), process_time(), len(run.seconds)
        await asyncio.sleep(measured)
        took, busy, seen = perf_counter() - began_at, process_time() - began_cpu, run.seconds[before:]
        run.going = False
        await asyncio.gather(*asking)
    return Answered(len(run.seconds), len(seen) / took, seen, busy / took)
