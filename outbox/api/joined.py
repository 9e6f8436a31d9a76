"""The head and the body of an answer as one write: uvicorn writes them one after the other, and each is a system call
of its own, which is a good part of what a small request costs."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES = 64 * 1024  # held; more is passed on at once


class Joined:
    """A transport that holds what is written until the loop has turned. All else is the real one's."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []
        self._bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._pass_on)
        self._held.append(data)
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            self._pass_on()

    def close(self) -> None:
        """What was written goes first."""
        self._pass_on()
        self._transport.close()

    def _pass_on(self) -> None:
        held, self._held, self._bytes = self._held, [], 0
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))


class JoinedProtocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        joined = Joined(cast("asyncio.Transport", transport), self.loop)
        super().connection_made(cast("asyncio.Transport", joined))
