"""The door of a double: a TCP listener before its HTTP server, for what goes wrong below HTTP."""

import asyncio
import struct
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET

from outbox.local.doubles.faults import Kind, Menu

CHUNK_BYTES = 64 * 1024
RESET_AT_CLOSE = struct.pack("ii", 1, 0)
GARBAGE = b"\x00\x00\x00 this is neither TLS nor HTTP\r\n"


class Front:
    """Passes bytes on to `target`, both ways. `connections` counts those that were accepted."""

    def __init__(self, menu: Menu) -> None:
        self.menu = menu
        self.target = ("127.0.0.1", 0)
        self.connections = 0
        self._links: dict[int, tuple[StreamWriter, StreamWriter]] = {}  # by the port the target sees
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._address = ("", 0)

    @property
    def port(self) -> int:
        assert self._server, "not started"
        return self._address[1]

    async def start(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, host, port)
        self._address = (host, self._server.sockets[0].getsockname()[1])

    async def away(self, seconds: float) -> None:
        """Nobody listens for so long: new connections are refused, those there are go on."""
        assert self._server, "not started"
        self._server.close()
        try:
            await asyncio.sleep(seconds)
        finally:
            await self.start(*self._address)

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self, port: int) -> None:
        """Abort the connection that the target knows by its client's port."""
        for end in self._links.get(port, ()):
            abort(end)

    def reset_all(self) -> None:
        for port in list(self._links):
            self.reset(port)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        try:
            if fault := self.menu.take(connecting=True):
                await self._fail(fault.kind, reader, writer)
            else:
                await self._pass_on(reader, writer)
        except OSError:
            abort(writer)
        finally:
            writer.close()

    async def _fail(self, kind: Kind, reader: StreamReader, writer: StreamWriter) -> None:
        match kind:
            case Kind.REFUSED:
                abort(writer)
            case Kind.GARBAGE:
                await reader.read(CHUNK_BYTES)  # unread, it would turn the close into a reset
                writer.write(GARBAGE)
                await writer.drain()
            case _:
                while await reader.read(CHUNK_BYTES):
                    pass

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        port = far_writer.get_extra_info("sockname")[1]
        self._links[port] = writer, far_writer
        try:
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        finally:
            del self._links[port]
            far_writer.close()


async def pump(reader: StreamReader, writer: StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    with suppress(OSError):  # the other side may be gone
        writer.write_eof() if writer.can_write_eof() else writer.close()


def abort(end: StreamWriter) -> None:
    """By RST, not FIN: the other side's read fails. One that is closed already has no socket any more."""
    if socket := end.get_extra_info("socket"):
        with suppress(OSError):
            socket.setsockopt(SOL_SOCKET, SO_LINGER, RESET_AT_CLOSE)
    end.transport.abort()
