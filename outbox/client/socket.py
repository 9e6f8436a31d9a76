"""The socket of the async client: one connection after the other, each beginning where the last one ended."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from outbox.client.live import TOKEN_EXPIRED, Event, Session, asked_pause, refusal
from outbox.client.retry import Retry

OPEN_SECONDS = 10.0
FRAME_BYTES = 1_048_576  # an item with its payload of 64 KiB, escaped
BACKOFF = Retry(attempts=1_000_000_000, base=0.5, cap=30.0)


async def listen(gateway: str, token: Callable[[], str], cursor: int | None) -> AsyncGenerator[Event, None]:
    """Events for ever. Raises ProblemError where coming back makes no sense."""
    session, failures = Session(cursor), 0
    while True:
        asked: float | None = None
        try:
            async with connect(address(gateway), open_timeout=OPEN_SECONDS, max_size=FRAME_BYTES) as socket:
                await socket.send(session.auth(token()))
                async for text in socket:
                    if (event := session.take(text)) is not None:
                        yield event
                    failures = 0 if session.synced else failures
                code, reason = socket.close_code or 1006, socket.close_reason or ""
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
        except (InvalidHandshake, OSError, TimeoutError):
            code, reason = 1006, ""
        if (final := refusal(code, reason)) is not None:
            raise final
        asked = asked_pause(code, reason)
        failures += 1
        if code == TOKEN_EXPIRED and failures == 1:
            continue  # with a new token, at once
        await asyncio.sleep(asked if asked is not None else BACKOFF.pause(failures, None) or BACKOFF.cap)


def address(gateway: str) -> str:
    parts = urlsplit(gateway)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/v1/ws", "", ""))
