"""A TCP proxy that does to its connections what networks do: cut them, delay them, or swallow every byte."""

import asyncio
import struct
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET

CHUNK_BYTES = 64 * 1024
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class Link:
    """A client's connection and the one to the target. Once `silent`, for ever: behind bytes that were lost,
    no later ones may arrive."""

    ends: list[StreamWriter]
    silent: bool = False

    def reset(self) -> None:
        for end in self.ends:
            with suppress(OSError):  # closed this moment by its other side
                end.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, RESET_AT_CLOSE)
            end.transport.abort()


@dataclass(slots=True)
class Proxy:
    """Listens on 127.0.0.1 and passes on to `target`; both directions, half-closes included."""

    host: str
    target_port: int
    target: tuple[str, int] = field(init=False)  # where new connections go
    delay_seconds: float = 0.0  # added to each chunk in each direction
    swallow: bool = False  # dropped packets: read and thrown away, no RST, no FIN; new connections go nowhere
    links: set[Link] = field(default_factory=set)
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    server: asyncio.Server | None = None

    def __post_init__(self) -> None:
        self.target = (self.host, self.target_port)

    @property
    def port(self) -> int:
        assert self.server, "not started"
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self.server, "not started"
        self.server.close()
        self.cut()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection, on both sides."""
        for link in self.links:
            link.reset()

    def swallow_existing(self) -> None:
        """Drop all packets of the connections there are; new ones are healthy."""
        for link in self.links:
            link.silent = True

    def accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self.serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        link = Link([writer], silent=self.swallow)
        self.links.add(link)
        try:
            if link.silent:
                await self.pump(link, reader, None)
                return
            far_reader, far_writer = await asyncio.open_connection(*self.target)
            link.ends.append(far_writer)
            await asyncio.gather(self.pump(link, reader, far_writer), self.pump(link, far_reader, writer))
        except OSError:
            link.reset()  # the target refused
        finally:
            self.links.discard(link)
            for end in link.ends:
                end.close()

    async def pump(self, link: Link, reader: StreamReader, writer: StreamWriter | None) -> None:
        """One direction, to its end. The other side learns of that end, however it comes, unless silent."""
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                link.silent |= self.swallow
                if writer and not link.silent:
                    writer.write(chunk)
                    await writer.drain()
            link.silent |= self.swallow
            if writer and not link.silent:
                with suppress(OSError):
                    writer.write_eof()
        except OSError:
            link.silent |= self.swallow
            if not link.silent:
                link.reset()
