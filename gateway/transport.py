"""uvicorn's protocols with bounds on what a connection can hold back, and a short way out for frames.

A peer that takes no more bytes: asyncio keeps a closed transport until its buffer is flushed, which such a peer can put
off for ever; a socket is cut some seconds after its close frame. A peer that asks for nothing: uvicorn waits for a
first request as long as it takes; here it has some seconds. What an application needs of all that is in the ASGI scope.
"""

from asyncio import BaseTransport, TimerHandle, Transport
from typing import Any, Protocol, cast

from starlette.types import Scope
from starlette.websockets import WebSocketDisconnect
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request
from websockets.protocol import OPEN

TRANSPORT = "outbox.transport"  # in the scope's state
BUFFER_BYTES = 32_768
LINGER_SECONDS = 10.0
REQUEST_SECONDS = 10.0
FRAGMENTS = 1024  # of one message


class Abortable(Protocol):
    def abort(self) -> None:
        """End the connection at once, whatever is still to be sent."""


class PatientProtocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # whichever of the two is installed
    """HTTP, until it becomes a WebSocket."""

    app_state: dict[str, Any]

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.app_state = self.app_state | {TRANSPORT: transport}
        cast("Transport", transport).set_write_buffer_limits(high=BUFFER_BYTES)
        self._impatience = self.loop.call_later(REQUEST_SECONDS, self.give_up)

    def give_up(self) -> None:
        if self.cycle is None and self.transport.get_protocol() is self:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._impatience.cancel()
        super().connection_lost(exc)


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
            self.scope["state"][TRANSPORT] = self

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and not self.handshake_complete:
            self.transport.abort()  # a client waits for the answer before it says more (RFC 6455 §4.1)
        else:
            super().data_received(data)

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:  # nobody reads what was written before: a pong to a later one answers this, too (RFC 6455 §5.5.3)
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < FRAGMENTS:
            super().handle_cont(event)
        else:  # empty ones add nothing to the size that is limited, but each takes memory
            self.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not decodable(self.frames):
            # uvicorn would log it as a mistake of ours, and fail where the client has closed by its next frame.
            self.fail(CloseCode.INVALID_DATA, "not UTF-8")
        else:
            super().send_receive_event_to_app()

    def fail(self, code: CloseCode, reason: str) -> None:
        self.frames = []
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()

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

    def abort(self) -> None:
        self.transport.abort()

    def push(self, frame: bytes) -> bool:
        """Send a whole frame now; False where that has to wait, or cannot be any more."""
        if not self.writable.is_set() or self.ended():
            return False
        self.transport.write(frame)
        return True

    async def push_when_writable(self, frame: bytes) -> None:
        """Raises WebSocketDisconnect once either side has closed."""
        await self.writable.wait()
        if not self.push(frame):
            raise WebSocketDisconnect(1006)

    def ended(self) -> bool:
        return self.disconnected or self.conn.state is not OPEN or self.transport.is_closing()


def decodable(parts: list[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True


def transport_of(scope: Scope) -> Abortable:
    """What an HTTP response goes over."""
    transport: Abortable = scope["state"][TRANSPORT]
    return transport


def protocol_of(scope: Scope) -> BoundedProtocol:
    """What a WebSocket goes over."""
    protocol: BoundedProtocol = scope["state"][TRANSPORT]
    return protocol


def text_frame(text: bytes) -> bytes:
    """An unmasked text frame that is a whole message (RFC 6455 §5.2)."""
    size = len(text)
    if size < 126:
        return b"\x81%c%b" % (size, text)
    if size < 65_536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), text)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), text)
