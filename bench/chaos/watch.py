"""The independent reader: every XADD that Redis runs, by MONITOR, straight from whichever server is the primary.

Nothing slips past it: clients reach Redis by proxies only, and those stay shut from before a server starts or is
promoted until MONITOR is on and the streams have been read once.
"""

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import token_hex
from time import time
from typing import Any

from redis.exceptions import ResponseError

from bench.chaos.ground import HOST
from bench.chaos.history import ZERO, Entry, History, Id
from bench.chaos.valkey import Node

LIMIT = 64 * 1024**2  # a line of MONITOR: a script call with all its entries is one
ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')
ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)")
PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}
PREFIX = "notifications."


@dataclass(slots=True)
class Watch:
    """What went into the streams, and when each title was first seen."""

    histories: dict[str, History] = field(default_factory=lambda: defaultdict(History))
    seen_at: dict[str, float] = field(default_factory=dict)  # Unix seconds
    titles: dict[str, str] = field(default_factory=dict)  # by notification
    blind: str = ""  # why the reader missed something: the run then proves nothing
    may_end: bool = False
    reading: "asyncio.Task[None] | None" = None
    markers: dict[str, asyncio.Event] = field(default_factory=dict)
    node: Node | None = None

    async def attach(self, node: Node) -> None:
        """Watch this server from now on, and take in what it holds. Nobody writes to it yet."""
        await self.detach()
        reader, writer = await asyncio.open_connection(HOST, node.port, limit=LIMIT)
        writer.write(f"AUTH {node.ground.password('redis')}\r\nMONITOR\r\n".encode())
        if [await reader.readline(), await reader.readline()] != [b"+OK\r\n", b"+OK\r\n"]:
            raise RuntimeError("MONITOR was refused")
        await self.take_in(node)
        self.may_end, self.node = False, node
        self.reading = asyncio.create_task(self.read(reader, writer))

    async def take_in(self, node: Node) -> None:
        async with node.client() as redis:
            keys: Any = await redis.keys(f"{PREFIX}*")
            names = {key.decode() for key in keys}
            for name in names | self.histories.keys():
                last, present = ZERO, []
                with suppress(ResponseError):  # no such key
                    last = Id.parse((await redis.xinfo_stream(name))["last-generated-id"].decode())
                    found: Any = await redis.xrange(name)
                    for entry_id, fields in found:
                        texts = (entry_id, fields[b"envelope"], fields[b"attempt"])
                        present.append(Entry.parse(*(text.decode() for text in texts)))
                self.histories[name].resume(last, present)
                self.note(present)

    async def detach(self) -> None:
        """Read what the server still has to say, then leave it."""
        if self.reading is None:
            return
        if not self.may_end:
            await self.drain()
        else:
            await self.reading
        self.may_end = True
        self.reading.cancel()
        with suppress(asyncio.CancelledError):
            await self.reading
        self.reading = None

    async def drain(self) -> None:
        """Until everything that the server has run so far has been seen."""
        assert self.node
        marker = token_hex(8)
        seen = self.markers[marker] = asyncio.Event()
        async with asyncio.timeout(30), self.node.client() as redis:
            await redis.echo(marker)
            await seen.wait()

    async def read(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.see(line)
        except OSError:
            pass  # the same as the end
        finally:
            writer.close()
        if not self.may_end:
            self.blind = "MONITOR ended although its server was not taken down"

    def see(self, line: bytes) -> None:
        _, _, command = line.partition(b'] "')
        name = command[:8].partition(b'"')[0].upper()
        match name:
            case b"XADD":
                _, stream, entry_id, _, envelope, _, attempt = arguments(line)
                entry = Entry.parse(entry_id, envelope, attempt)
                self.histories[stream].add(entry)
                self.note([entry])
            case b"FLUSHALL":
                for history in self.histories.values():
                    history.clear()
            case b"DEL" | b"UNLINK":
                for stream in arguments(line)[1:]:
                    if stream in self.histories:
                        self.histories[stream].clear()
            case b"XSETID":
                _, stream, last, *_ = arguments(line)
                self.histories[stream].resume(Id.parse(last), ())
            case b"ECHO":
                if event := self.markers.pop(arguments(line)[1], None):
                    event.set()

    def note(self, entries: list[Entry]) -> None:
        now = time()
        for entry in entries:
            self.seen_at.setdefault(entry.title, now)
            self.titles[entry.notification] = entry.title


def arguments(line: bytes) -> list[str]:
    """The words of a command as MONITOR prints them."""
    return [ESCAPE.sub(unescape, word).decode() for word in ARGUMENT.findall(line)]


def unescape(found: "re.Match[bytes]") -> bytes:
    word = found[1]
    return bytes.fromhex(word[1:].decode()) if len(word) == 3 else PLAIN.get(word, word)
