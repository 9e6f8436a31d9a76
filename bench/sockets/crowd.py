"""`python -m bench.sockets.crowd <dialect> <port> <redis-url>`: the clients, and who publishes to them, in one process.

It opens sockets and publishes as the lines on its standard input say, and answers each with a line. Both sides of the
comparison have the same crowd, so that what it costs, it costs both.
"""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.run import in_ms
from bench.sockets.dialects import DIALECTS, Dialect
from bench.sockets.frames import Client

AT_ONCE = 200  # handshakes
ADDRESSES = 8  # of the loopback network, as one has too few ports
SENT_AT = b'"t":'
PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Crowd:
    dialect: Dialect
    port: int
    redis: asyncio.StreamWriter
    clients: list[Client] = field(default_factory=list)
    published: int = 0
    seconds: list[float] = field(default_factory=list)  # of each message, from its publication on
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, client: Client, text: bytes) -> None:
        at = text.find(SENT_AT)
        if at < 0:
            self.dialect.take(client, text)
            return
        at += len(SENT_AT)
        digits = text[at : at + 20].partition(b"}")[0]
        self.seconds.append((perf_counter_ns() - int(digits)) / 1e9)
        self.moved.set()

    async def open(self, count: int) -> dict[str, Any]:
        began = perf_counter_ns()
        turns = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(self.come(number, turns))
        return {"open": len(self.clients), "seconds": (perf_counter_ns() - began) / 1e9}

    async def come(self, number: int, turns: asyncio.Semaphore) -> None:
        async with turns:
            client = Client(number, self.dialect.path, self.dialect.protocols(number), self.take)
            address = (f"127.0.0.{2 + number % ADDRESSES}", 0)
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: client, "127.0.0.1", self.port, local_addr=address)
            await asyncio.wait_for(client.up, PATIENCE_SECONDS)
            self.clients.append(client)

    def publish(self) -> bytes:
        """The command for the next user in turn."""
        count, number = divmod(self.published, len(self.clients))
        self.published += 1
        channel, message = self.dialect.publication(number, count + 1, perf_counter_ns())
        return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            len(channel),
            channel,
            len(message),
            message,
        )

    async def flood(self, messages: int, window: int) -> dict[str, Any]:
        """As fast as they arrive, with `window` under way."""
        self.seconds.clear()
        began, sent = perf_counter_ns(), 0
        while len(self.seconds) < messages:
            room = min(messages, len(self.seconds) + window) - sent
            if room >= min(window // 4, messages - sent) and room:
                self.redis.write(b"".join(self.publish() for _ in range(room)))
                sent += room
            self.moved.clear()
            await asyncio.wait_for(self.moved.wait(), PATIENCE_SECONDS)
        took = (perf_counter_ns() - began) / 1e9
        return {"rate": messages / took} | in_ms(self.seconds)

    async def pace(self, messages: int, rate: float) -> dict[str, Any]:
        """At a given rate, in small bursts, as many producers make them."""
        self.seconds.clear()
        loop, every = asyncio.get_running_loop(), 0.005
        began, sent = loop.time(), 0
        while sent < messages:
            due = min(messages, int((loop.time() - began) * rate) + 1)
            self.redis.write(b"".join(self.publish() for _ in range(due - sent)))
            sent = due
            await asyncio.sleep(every)
        while len(self.seconds) < messages:
            self.moved.clear()
            await asyncio.wait_for(self.moved.wait(), PATIENCE_SECONDS)
        return {"messages": len(self.seconds)} | in_ms(self.seconds)


async def main(dialect: str, port: int, redis_url: str) -> None:
    parts = urlsplit(redis_url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    if parts.password:
        writer.write(f"AUTH {parts.username or 'default'} {parts.password}\r\n".encode())
    draining = asyncio.create_task(drain(reader))
    crowd = Crowd(DIALECTS[dialect], port, writer)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        answer = await getattr(crowd, order.pop("do"))(**order)
        print(json.dumps(answer), flush=True)
    draining.cancel()


async def drain(reader: asyncio.StreamReader) -> None:
    """Redis' replies, unread by anybody."""
    while await reader.read(65_536):
        pass


if __name__ == "__main__":
    name, port_text, url = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(name, int(port_text), url))
