"""A WebSocket client that costs next to nothing (RFC 6455): it neither checks nor copies what the server sends."""

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from typing import cast

Take = Callable[["Client", bytes], None]

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NO_MASK = b"\0\0\0\0"  # a mask of zeros is a valid one


def masked(opcode: int, data: bytes) -> bytes:
    """A frame from a client, of at most 64 KiB."""
    if len(data) < 126:
        return struct.pack("!BB", 0x80 | opcode, 0x80 | len(data)) + NO_MASK + data
    return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(data)) + NO_MASK + data


class Client(asyncio.Protocol):
    """One socket. `take` gets each text frame, and says when the greeting is over; `on_lost` is called at the end."""

    __slots__ = (
        "_rest",
        "_take",
        "_upgraded",
        "asked",
        "close_code",
        "heard",
        "number",
        "on_lost",
        "path",
        "protocols",
        "transport",
        "up",
    )

    def __init__(self, number: int, path: str, protocols: str, take: Take) -> None:
        self.number = number
        self.path = path
        self.protocols = protocols
        self.transport: asyncio.Transport | None = None
        self.close_code = 1006
        self.heard = 0  # frames
        self.asked = False
        self.on_lost: Callable[[], None] | None = None
        self.up = asyncio.get_running_loop().create_future()
        self._take = take
        self._rest = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        offer = f"Sec-WebSocket-Protocol: {self.protocols}\r\n" if self.protocols else ""
        self.transport.write(
            f"GET {self.path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offer}\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.up.done():
            self.up.set_exception(ConnectionError(f"socket {self.number} was not let in: {exc}"))
        if self.on_lost:
            self.on_lost()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data, self._rest = self._rest + data, b""
        start = 0
        if not self._upgraded:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._rest = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self.end(data[:200].decode(errors="replace"))
                return
            self._upgraded, start = True, end + 4
        self._frames(data, start)

    def _frames(self, data: bytes, start: int) -> None:
        size = len(data)
        while size - start >= 2:
            length, head = data[start + 1], 2
            if length == 126:
                length, head = int.from_bytes(data[start + 2 : start + 4], "big"), 4
            elif length == 127:
                length, head = int.from_bytes(data[start + 2 : start + 10], "big"), 10
            if size - start < head + length:
                break
            self._frame(data[start] & 0x0F, data[start + head : start + head + length])
            start += head + length
        self._rest = data[start:]

    def _frame(self, opcode: int, data: bytes) -> None:
        self.heard += 1
        if opcode == TEXT:
            self._take(self, data)
        elif opcode == PING:
            self._write(PONG, data)
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(data[:2], "big")
            self._write(CLOSE, data[:2])
            self.end(f"closed with {self.close_code}")

    def _write(self, opcode: int, data: bytes) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.write(masked(opcode, data))

    def end(self, why: str) -> None:
        if not self.up.done():
            self.up.set_exception(ConnectionError(why))
        if self.transport:
            self.transport.close()

    def send(self, text: bytes) -> None:
        self._write(TEXT, text)

    def ready(self) -> None:
        if not self.up.done():
            self.up.set_result(None)
