"""Server-sent events: the same frames as over a socket, for clients that only listen.

`Last-Event-ID` is the cursor, of any age, so a browser that reconnects by itself misses nothing. Source of the format:
the WHATWG HTML standard, "Server-sent events".
"""

import asyncio
import random

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway import door, tickets
from gateway.door import RefusedError, Visitor
from gateway.line import Line
from gateway.metrics import REFUSED
from gateway.protocol import Arrived, Close, Closed, Closing, Notification, Outgoing, Synced, encode
from gateway.switchboard import Switchboard
from gateway.transport import Abortable, transport_of
from outbox.errors import UnauthenticatedError
from outbox.tokens import Identity

HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect them
    (b"x-content-type-options", b"nosniff"),
]
HEARTBEAT_SECONDS = 15.0
HEARTBEAT = b":\n\n"
RETRY_MS = (1000, 5000)  # a browser's own pause is the same for all that lose their connection at once


class Events:
    def __init__(self, board: Switchboard) -> None:
        self._board = board

    def routes(self) -> list[Route]:
        return [
            Route("/v1/events", Stream(self._board), methods=["GET"]),
            Route("/v1/events/tickets", self.ticket, methods=["POST"]),
        ]

    async def ticket(self, request: Request) -> Response:
        try:
            with door.passed(self._board, request):
                identity = await by_header(self._board, request)
        except RefusedError as error:
            REFUSED.labels(error.metric).inc()
            return error.response()
        ticket = tickets.issue(self._board.settings, identity)
        seconds = int(tickets.LIFETIME.total_seconds())
        return JSONResponse({"ticket": ticket, "expires_in": seconds}, 201, {"cache-control": "no-store"})


class Stream:
    """GET /v1/events."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        try:
            with door.passed(self._board, request):
                visitor = await admit(self._board, request)
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                if request.method == "HEAD":
                    await send({"type": "http.response.body"})
                else:
                    wire = EventWire(transport_of(scope), send)
                    await listen(Line(self._board, visitor, wire), receive)
        except RefusedError as error:
            REFUSED.labels(error.metric).inc()
            await error.response()(scope, receive, send)


async def admit(board: Switchboard, request: Request) -> Visitor:
    """Raises RefusedError."""
    accepted = request.headers.get("accept", "*/*")
    if not any(kind in accepted for kind in ("text/event-stream", "text/*", "*/*")):
        raise RefusedError(Closing(Close.BAD_FRAMES, "what there is here is text/event-stream"))
    cursor = door.parse_cursor(request.headers.get("last-event-id") or request.query_params.get("cursor"))
    ticket = request.query_params.get("ticket")
    identity = await by_header(board, request) if ticket is None else by_ticket(board, ticket)
    return Visitor(door.welcomed(board, identity), cursor)


async def by_header(board: Switchboard, request: Request) -> Identity:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        reason = "send Authorization: Bearer <token>, or a ticket of POST /v1/events/tickets as ?ticket="
        raise RefusedError(Closing(Close.UNAUTHENTICATED, reason))
    return await door.identify(board.verifier, token.strip())


def by_ticket(board: Switchboard, ticket: str) -> Identity:
    try:
        return tickets.redeem(board.settings, ticket)
    except UnauthenticatedError as error:
        raise RefusedError(Closing(Close.UNAUTHENTICATED, str(error))) from None


async def listen(line: Line, receive: Receive) -> None:
    """Until either side closes; a comment now and then keeps what is between from hanging up."""
    line.open()
    line.put_bytes(b"retry: %d\n\n" % random.randint(*RETRY_MS))
    try:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    message = await receive()
            except TimeoutError:
                line.put_bytes(HEARTBEAT)
            else:
                if message["type"] == "http.disconnect":
                    return
    finally:
        await line.finish()


class EventWire:
    """A response that does not end, as a line sees it. To a client that has left, uvicorn sends nothing and says so."""

    __slots__ = ("_send", "_transport")

    def __init__(self, transport: Abortable, send: Send) -> None:
        self._transport = transport
        self._send = send

    def encode(self, frame: Outgoing) -> bytes:
        return event(frame)

    def push(self, data: bytes) -> bool:
        return False

    async def send(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, closing: Closing) -> None:
        retry = b"retry: %d\n" % closing.retry_ms if closing.retry_ms is not None else b""
        closed = event(Closed(code=closing.code, reason=closing.reason, retry_ms=closing.retry_ms))
        await self._send({"type": "http.response.body", "body": retry + closed, "more_body": False})

    def cut(self) -> None:
        self._transport.abort()


def event(frame: Outgoing) -> bytes:
    """One event: JSON holds no line break. Its id, where it has one, is the cursor from then on."""
    text = b"data: %b\n\n" % encode(frame)
    match frame:
        case Notification() | Arrived():
            return b"id: %d\n%b" % (frame.seq, text)
        case Synced():
            return b"id: %d\n%b" % (frame.last_seq, text)
        case _:
            return text
