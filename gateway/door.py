"""Who may come in: the page a connection comes from (Origin), how many there are already, and the token it brings."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import Receive
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.limits import address
from gateway.protocol import SUBPROTOCOL, Auth, BadFrameError, Close, Closing, parse
from gateway.switchboard import Switchboard, stopping
from outbox.errors import UnauthenticatedError
from outbox.jwks import IssuerAwayError
from outbox.settings import Settings
from outbox.tokens import Identity, Scope
from outbox.verifier import Verifier

AUTH_SECONDS = 5.0
BEARER = "bearer."


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who speaks, and the last seq they saw; None where they want only the newest."""

    identity: Identity
    cursor: int | None


class RefusedError(Exception):
    """Not admitted; `closing` says why, and `metric` in a word."""

    def __init__(self, closing: Closing, metric: str = "") -> None:
        super().__init__(closing.reason)
        self.closing = closing
        self.metric = metric or closing.code.name.lower()

    def response(self) -> JSONResponse:
        """Said over HTTP, as a problem (RFC 9457)."""
        closing = self.closing
        status = closing.code.http_status
        problem = {
            "type": "about:blank",
            "title": closing.code.title,
            "status": status,
            "detail": closing.reason,
        }
        headers = {"cache-control": "no-store"} | ({"retry-after": "2"} if status in {429, 503} else {})
        return JSONResponse(problem, status, headers, media_type="application/problem+json")


@contextmanager
def passed(board: Switchboard, connection: HTTPConnection) -> Iterator[str]:
    """A place for this connection, by its address. Raises RefusedError where it may not even say who it is."""
    if board.draining:
        raise RefusedError(stopping(), "draining")
    origin, host = connection.headers.get("origin"), connection.headers.get("host", "")
    if not origin_allowed(board.settings, origin, host):
        raise RefusedError(Closing(Close.FORBIDDEN, "this origin is not allowed"), "origin")
    place = address(connection.scope.get("client"))
    if not board.addresses.take(place):
        raise RefusedError(Closing(Close.TOO_MANY, "too many connections from this address"), "address")
    try:
        yield place
    finally:
        board.addresses.give_back(place)


def origin_allowed(settings: Settings, origin: str | None, host: str) -> bool:
    """Browsers send Origin with every handshake, and only they need the check; other clients may leave it out.

    Exact comparison with OUTBOX_GATEWAY_ORIGINS; the gateway's own host always passes, and in development any
    page on this machine.
    """
    if origin is None:
        return True
    if origin in settings.gateway_origins:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    return parts.netloc.lower() == host.lower() or (
        settings.env == "development" and is_loopback(parts.hostname)
    )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def admit(board: Switchboard, ws: WebSocket, place: str) -> Visitor:
    """Accept the socket and learn who it is. Raises RefusedError, or WebSocketDisconnect if the client leaves.

    The token comes as a subprotocol (`outbox.v1, bearer.<token>`, cursor in the query) or in the first frame.
    It is never taken from the URL, which ends up in logs.
    """
    offered: list[str] = ws.scope["subprotocols"]
    await ws.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    token = next((name.removeprefix(BEARER) for name in offered if name.startswith(BEARER)), None)
    if token is not None:
        cursor = parse_cursor(ws.query_params.get("cursor"))
    else:
        first = await introduction(board, ws, place)
        token, cursor = first.token, first.cursor
    return Visitor(welcomed(board, await identify(board.verifier, token)), cursor)


async def introduction(board: Switchboard, ws: WebSocket, place: str) -> Auth:
    """The first frame, of a client that is not known yet: few from one address, and not for long."""
    if not board.strangers.take(place):
        raise RefusedError(Closing(Close.TOO_MANY, "too many connections from this address wait for auth"))
    try:
        async with asyncio.timeout(AUTH_SECONDS):
            first = parse(await receive_frame(ws.receive))
    except TimeoutError:
        raise RefusedError(Closing(Close.AUTH_TIMEOUT, f"no auth frame within {AUTH_SECONDS:g} s")) from None
    except BadFrameError as error:
        raise RefusedError(Closing(Close.BAD_FRAMES, str(error))) from None
    finally:
        board.strangers.give_back(place)
    if not isinstance(first, Auth):
        raise RefusedError(Closing(Close.UNAUTHENTICATED, "the first frame must be auth"))
    return first


async def receive_frame(receive: Receive) -> str | None:
    """The next frame's text, None for a binary one. Raises WebSocketDisconnect."""
    message = await receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
    text: str | None = message.get("text")
    return text


async def identify(verifier: Verifier, token: str) -> Identity:
    """Who holds this token: the one place where the gateway has any verified. Raises RefusedError where the token does
    not hold, is none of a user, or cannot be judged at the moment."""
    try:
        identity = await verifier.verify(token)
    except UnauthenticatedError as error:
        raise RefusedError(Closing(Close.UNAUTHENTICATED, str(error))) from None
    except IssuerAwayError as error:
        raise RefusedError(Closing(Close.TRY_LATER, str(error))) from None
    if Scope.USER not in identity.scopes:
        raise RefusedError(Closing(Close.FORBIDDEN, f"the token lacks the scope {Scope.USER}"))
    return identity


def welcomed(board: Switchboard, identity: Identity) -> Identity:
    """Raises RefusedError where the user has enough connections, or the gateway began to stop meanwhile: it has told
    the lines that there are. Nothing is awaited before this one is among them."""
    if board.draining:
        raise RefusedError(stopping(), "draining")
    if board.lines_of(identity.subject) >= board.settings.gateway_connections_per_user:
        raise RefusedError(Closing(Close.TOO_MANY, "too many connections of this user"))
    return identity


def parse_cursor(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise RefusedError(Closing(Close.BAD_FRAMES, "cursor: must be a whole number"))
    return int(text)
