"""One HTTP request to an address that somebody else has named, and what came of it. No redirect, proxy, cookie or
retry; bounded in time and in what is read."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from outbox.egress import Egress, EgressRefusedError, target
from workers.answer_body import beginning
from workers.dialing import Dialer, Resolver, resolve
from workers.outcome import Permanent, Transient, Unknown, clean

IDLE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Post:
    """What to send. Header names and values are ASCII."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers by lower-case name, and the beginning of the body."""

    status: int
    headers: Mapping[str, str]
    text: str = ""


@dataclass(slots=True)
class Progress:
    """How far a request came."""

    sent: bool = False
    answer: Answer | None = None
    body: bytearray = field(default_factory=bytearray)

    async def trace(self, event: str, _: Any) -> None:
        """Told by httpcore. From here on the far side may have read something."""
        if event.endswith("send_request_headers.started"):
            self.sent = True


class Poster:
    """Keeps connections; one pool for https, one for http, because they are allowed different addresses."""

    def __init__(
        self,
        egress: Egress,
        connections: int,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver = resolve,
    ) -> None:
        tls = tls or httpx.create_ssl_context()
        self._pools = {
            scheme: httpcore.AsyncConnectionPool(
                ssl_context=tls,
                max_connections=connections,
                keepalive_expiry=IDLE_SECONDS,
                network_backend=Dialer(egress, scheme, resolver),
            )
            for scheme in ("https", "http")
        }

    async def send(self, post: Post, seconds: float) -> Answer | Transient | Permanent | Unknown:
        """The answer, whatever it says; or why there is none. Never raises what the far side did."""
        progress = Progress()
        try:
            async with asyncio.timeout(seconds):
                await self._send(post, progress)
        except EgressRefusedError as error:
            return Permanent("egress", clean(str(error)))
        except (TimeoutError, httpcore.TimeoutException):
            return progress.answer or unanswered(progress, "timeout", f"no answer within {seconds:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            return progress.answer or broken(progress, error)
        assert progress.answer is not None, "a request ends with an answer or an exception"
        return progress.answer

    async def _send(self, post: Post, progress: Progress) -> None:
        where = target(post.url)
        parts = urlsplit(post.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        url = httpcore.URL(scheme=where.scheme, host=where.host, port=where.port, target=path.encode("ascii"))
        named = {"host": parts.netloc, **post.headers, "content-length": str(len(post.body))}
        headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in named.items()]
        stream = self._pools[where.scheme].stream(
            post.method,
            url,
            headers=headers,
            content=post.body,
            extensions={"trace": progress.trace},
        )
        async with stream as response:
            answered = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
            }
            progress.answer = Answer(response.status, answered)
            text = (await beginning(response.aiter_stream())).decode(errors="replace")
            progress.answer = Answer(response.status, answered, text)

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


def unanswered(progress: Progress, error_class: str, reason: str) -> Transient | Unknown:
    """Before the request left, nothing can have happened; afterwards, anything may have."""
    if progress.sent:
        return Unknown(f"the request had left, and then: {reason}")
    return Transient(error_class, reason, sends=0)


def broken(progress: Progress, error: Exception) -> Transient | Unknown:
    if isinstance(error.__context__, ssl.SSLError) or isinstance(error, ssl.SSLError):
        return unanswered(progress, "tls", clean(f"no TLS connection: {error}"))
    if isinstance(error, httpcore.LocalProtocolError):  # its words quote what could not be sent
        return unanswered(progress, "protocol", "the request could not be written as HTTP")
    if isinstance(error, httpcore.ProtocolError):
        return unanswered(progress, "protocol", clean(f"what came was no HTTP: {error}"))
    return unanswered(progress, "connection", clean(f"no connection: {error}" if str(error) else "reset"))
