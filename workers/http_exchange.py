"""One HTTP request whose fate must be known: was it answered, and if not, had it left?"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from outbox.service import describe
from workers.answer_body import beginning
from workers.outcome import Transient, Unknown, clean

CONNECT_SECONDS = 10.0
CONNECT_SHARE = 0.8  # of the whole


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` may be cut off."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Progress:
    """How far a request came, as httpcore tells it."""

    left: bool = False

    async def note(self, event: str, _: Mapping[str, Any]) -> None:
        # http11.… or http2.…: from here on the far side may get all of it. Not at its end: a write that is given up
        # while it waits has handed over its bytes.
        if event.endswith(".send_request_body.started"):
            self.left = True


async def post(
    client: httpx.AsyncClient, url: str, content: bytes, seconds: float
) -> Answer | Transient | Unknown:
    """The answer within so many seconds, or what its absence means. Raises nothing that the far side did."""
    progress = Progress()
    try:
        async with asyncio.timeout(seconds):
            return await exchange(client, url, content, progress, connecting(seconds))
    except (
        httpx.HTTPError,
        httpx.StreamError,
        httpx.InvalidURL,
        OSError,
        TimeoutError,
        ssl.SSLError,
    ) as error:
        return unanswered(error, progress)


def connecting(seconds: float) -> httpx.Timeout:
    """Less than the whole, for httpcore leaves a socket open where a handshake is cancelled from outside."""
    return httpx.Timeout(None, connect=min(CONNECT_SECONDS, CONNECT_SHARE * seconds))


async def exchange(
    client: httpx.AsyncClient, url: str, content: bytes, progress: Progress, timeout: httpx.Timeout
) -> Answer:
    extensions = {"trace": progress.note}
    async with client.stream(
        "POST", url, content=content, extensions=extensions, timeout=timeout
    ) as response:
        return Answer(response.status_code, response.headers, await beginning(response.aiter_raw()))


def unanswered(error: Exception, progress: Progress) -> Transient | Unknown:
    if progress.left:
        return Unknown(clean(f"no answer came to a request that had left: {type(error).__name__}"))
    if tls(error):
        return Transient("tls", clean(f"no TLS: {describe(error)}"))
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Transient("timeout", "the far side did not take the request in time")
    return Transient("connection", clean(f"the far side cannot be reached: {describe(error)}"))


def tls(error: BaseException | None) -> bool:
    """A handshake that waits for the far side is none that failed."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(
            error, ssl.SSLWantReadError | ssl.SSLWantWriteError
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def client(
    headers: Mapping[str, str], connections: int, verify: ssl.SSLContext | None = None
) -> httpx.AsyncClient:
    """Kept connections, but not for long: one that the far side closes in the very moment of a request leaves its
    fate unknown. No redirects, no proxies from the environment, no compressed answers. Trusts what the system does,
    and SSL_CERT_FILE, where it is not told whom to trust: httpx would by itself take a list that it brings along."""
    limits = httpx.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=4.0
    )
    return httpx.AsyncClient(
        headers={"Accept-Encoding": "identity"} | dict(headers),
        limits=limits,
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
        verify=verify or ssl.create_default_context(),
    )
