"""A TCP balancer: connections go in turn to the targets, past one that refuses."""

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from dataclasses import dataclass, field

from bench.chaos.proxy import CHUNK_BYTES

HOST = "127.0.0.1"
BACKLOG = 4096


@dataclass(slots=True)
class Balancer:
    targets: list[int]  # ports
    accepted: int = 0
    refused: int = 0  # connections that no target took
    server: asyncio.Server | None = None
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    @property
    def port(self) -> int:
        assert self.server
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.serve, HOST, 0, backlog=BACKLOG)

    async def stop(self) -> None:
        assert self.server
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            if (far := await self.connect()) is None:
                self.refused += 1
                return
            far_reader, far_writer = far
            try:
                await asyncio.wait(
                    [
                        asyncio.create_task(pump(reader, far_writer)),
                        asyncio.create_task(pump(far_reader, writer)),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                far_writer.transport.abort()
        finally:
            writer.transport.abort()

    async def connect(self) -> tuple[StreamReader, StreamWriter] | None:
        self.accepted += 1
        first = self.accepted % len(self.targets)
        for port in self.targets[first:] + self.targets[:first]:
            with suppress(OSError):
                return await asyncio.open_connection(HOST, port)
        return None


async def pump(reader: StreamReader, writer: StreamWriter) -> None:
    """One direction, to its end."""
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
