"""One request over HTTP/2: where to, what it is answered, and how far it came when it is not."""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset

from outbox.errors import SettingsError
from outbox.service import describe
from workers.answer_body import beginning
from workers.outcome import Transient, Unknown, clean, requests

CONNECT_SECONDS = 10.0
# Less than what lies between forgets an idle connection in.
IDLE_SECONDS = 60.0
LIMITS = httpx.Limits(max_connections=8, keepalive_expiry=IDLE_SECONDS)


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` may be cut off. `requests`: how many it took."""

    status: int
    headers: httpx.Headers
    body: bytes
    requests: int = 1

    def document(self) -> dict[str, Any]:
        """The body's JSON object; an empty one where it is none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


@dataclass(slots=True)
class Progress:
    """Whether a request may have been taken: without its body's end it has not. httpx calls it at each step."""

    left: bool = False

    async def __call__(self, event: str, _: dict[str, Any]) -> None:
        if event.endswith("send_request_body.started"):
            self.left = True
        elif event.endswith(("connect_tcp.started", "send_request_headers.started")):
            self.left = False  # a new connection, or tried again as the first one did not look at it


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the far side is. `ca`: a file of certificates to trust instead of the system's. `direct`: past a proxy
    that the environment names."""

    url: str
    ca: str | None = None
    direct: bool = False

    def client(self) -> Callable[[], httpx.AsyncClient]:
        """Makes clients. Raises SettingsError."""
        check_url(self.url)
        verify = trust(self.ca)
        return lambda: httpx.AsyncClient(
            base_url=self.url,
            http2=True,
            verify=verify,
            trust_env=not self.direct,
            limits=LIMITS,
        )


def patience(ends: float) -> httpx.Timeout:
    """A time-out of httpx on an answer would end every request of the connection, so each has its own, outside. One on
    TCP and one on TLS come before that, as httpcore closes only what it has itself given up."""
    left = max(0.0, ends - asyncio.get_running_loop().time())
    return httpx.Timeout(None, connect=min(CONNECT_SECONDS, left * 0.45))


async def exchange(
    client: httpx.AsyncClient, request: Request, progress: Progress, timeout: httpx.Timeout
) -> Answer:
    async with client.stream(
        "POST",
        request.path,
        headers=request.headers,
        content=request.content,
        timeout=timeout,
        extensions={"trace": progress},
    ) as response:
        return Answer(response.status_code, response.headers, await beginning(response.aiter_raw()))


def again(answer: Answer | Transient | Unknown) -> Answer | Transient | Unknown:
    """What came of a second request, after one that was answered."""
    if isinstance(answer, Answer):
        return replace(answer, requests=2)
    return replace(answer, sends=1 + requests(answer))


def silent(progress: Progress) -> Transient | Unknown:
    if progress.left:
        return Unknown("no answer in time after the request was sent")
    return Transient("timeout", "no connection in time")


def broken(error: Exception, progress: Progress) -> Transient | Unknown:
    if isinstance(error, httpx.ConnectTimeout):
        return Transient("timeout", "no connection in time")
    if isinstance(error, httpx.ConnectError):
        kind = "tls" if isinstance(root(error), ssl.SSLError) else "connection"
        return Transient(kind, clean(f"no connection: {describe(error)}"))
    if progress.left and not unseen(error):
        return Unknown(clean(f"the connection was lost with the request on its way: {type(error).__name__}"))
    return Transient("connection", clean(f"the connection was lost before the request: {describe(error)}"))


def unseen(error: Exception) -> bool:
    """Whether the far side said that it has not looked at the request (RFC 9113 §6.8 and §8.7)."""
    match root(error):
        case ConnectionTerminated(last_stream_id=0):
            return True
        case StreamReset(error_code=ErrorCodes.REFUSED_STREAM):
            return True
    return False


def breaks(error: Exception) -> bool:
    """Whether it is the end of the connection, and not of one request on it."""
    return not isinstance(root(error), StreamReset)


def root(error: Exception) -> object:
    """What httpcore's error, which httpx's is made from, was made from."""
    return error.__cause__.args[0] if error.__cause__ and error.__cause__.args else None


def trust(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError):
        raise SettingsError(f"ca={ca!r} in the channel's config is no file of certificates") from None


def check_url(url: str) -> None:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL("")
    if parts.scheme != "https" or not parts.host or parts.userinfo:
        raise SettingsError(f"url={url!r} in the channel's config must be like https://host:port")
