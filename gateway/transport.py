"""uvicorn's WebSocket protocol with a bound on what a socket can hold back: a peer that takes no more bytes.

asyncio keeps a closed transport until its buffer is flushed, which such a peer can put off for ever. Here a
socket is cut some seconds after its close frame, and `abort` is in the ASGI scope for the writer.
"""

from asyncio import BaseTransport, TimerHandle, Transport
from typing import cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

ABORT = "outbox.abort"  # in the scope's extensions
BUFFER_BYTES = 32_768
LINGER_SECONDS = 10.0


class BoundedProtocol(WebSocketsSansIOProtocol):
    _cut: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        cast("Transport", transport).set_write_buffer_limits(high=BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._cut:
            self._cut.cancel()
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # else the handshake was refused
            self.scope["extensions"][ABORT] = {"abort": self.transport.abort}

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()

    async def send(self, message: ASGISendEvent) -> None:
        if self.close_sent and self.handshake_complete:
            raise ClientDisconnected  # closed by uvicorn, as after a missed pong; nobody's mistake here
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = (
                True  # answered with an HTTP response; uvicorn would log it as unanswered
            )
        if self.close_sent and self._cut is None and not self.disconnected:
            self._cut = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
