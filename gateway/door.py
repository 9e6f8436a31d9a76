"""Who may come in: the page a socket comes from (Origin), and the token it brings."""

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.protocol import SUBPROTOCOL, Auth, BadFrameError, Close, Closing, parse
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
    """Not admitted; `closing` says why."""

    def __init__(self, closing: Closing) -> None:
        super().__init__(closing.reason)
        self.closing = closing


def origin_allowed(settings: Settings, origin: str | None, host: str) -> bool:
    """Browsers send Origin with every handshake, and only they need the check; other clients may leave it out.

    Exact comparison with OUTBOX_GATEWAY_ORIGINS; the gateway's own host always passes, and in development any
    page on this machine.
    """
    if origin is None:
        return True
    if origin in settings.gateway_origins:
        return True
    parts = urlsplit(origin)
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


async def admit(ws: WebSocket, verifier: Verifier) -> Visitor:
    """Accept the socket and learn who it is. Raises RefusedError, or WebSocketDisconnect if the client leaves.

    The token comes as a subprotocol (`outbox.v1, bearer.<token>`, cursor in the query) or in the first frame.
    It is never taken from the URL, which ends up in logs.
    """
    offered: list[str] = ws.scope["subprotocols"]
    await ws.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    token = next((name.removeprefix(BEARER) for name in offered if name.startswith(BEARER)), None)
    if token is not None:
        return Visitor(await identify(verifier, token), query_cursor(ws.query_params.get("cursor")))
    try:
        async with asyncio.timeout(AUTH_SECONDS):
            first = parse(await receive_frame(ws))
    except TimeoutError:
        raise RefusedError(Closing(Close.AUTH_TIMEOUT, f"no auth frame within {AUTH_SECONDS:g} s")) from None
    except BadFrameError as error:
        raise RefusedError(Closing(Close.BAD_FRAMES, str(error))) from None
    if not isinstance(first, Auth):
        raise RefusedError(Closing(Close.UNAUTHENTICATED, "the first frame must be auth"))
    return Visitor(await identify(verifier, first.token), first.cursor)


async def receive_frame(ws: WebSocket) -> str | None:
    """The next frame's text, None for a binary one. Raises WebSocketDisconnect."""
    message = await ws.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
    text: str | None = message.get("text")
    return text


async def identify(verifier: Verifier, token: str) -> Identity:
    """Raises RefusedError where the token does not hold, is none of a user, or cannot be judged at the moment."""
    try:
        identity = await verifier.verify(token)
    except UnauthenticatedError as error:
        raise RefusedError(Closing(Close.UNAUTHENTICATED, str(error))) from None
    except IssuerAwayError as error:
        raise RefusedError(Closing(Close.TRY_LATER, str(error))) from None
    if Scope.USER not in identity.scopes:
        raise RefusedError(Closing(Close.FORBIDDEN, f"the token lacks the scope {Scope.USER}"))
    return identity


def query_cursor(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise RefusedError(Closing(Close.BAD_FRAMES, "cursor: must be a whole number"))
    return int(text)
