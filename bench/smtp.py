"""The smallest SMTP server that a client is content with (RFC 5321): it says when a message has ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

ANSWERS = {b"EHLO": b"250 sink", b"HELO": b"250 sink", b"DATA": b"354 go on", b"QUIT": b"221 bye"}


@dataclass(slots=True)
class Sink:
    """`ends` gets the moment of each message's final dot, and the message."""

    ends: asyncio.Queue[tuple[float, bytes]] = field(default_factory=asyncio.Queue)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            verb = line[:4].upper().strip()
            writer.write(ANSWERS.get(verb, b"250 ok") + b"\r\n")
            if verb == b"DATA":
                message = await reader.readuntil(b"\r\n.\r\n")
                self.ends.put_nowait((perf_counter(), message))
                writer.write(b"250 taken\r\n")
            if verb == b"QUIT":
                break
        writer.close()


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    made = Sink()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
