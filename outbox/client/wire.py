"""What both shells share: how a call becomes a request of httpx, and what comes back an answer."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from outbox.client.retry import Retry
from outbox.client.steps import Answer, Call, Lost

Token = str | Callable[[], str]
Trace = Callable[[], str | None]  # the current W3C traceparent, as a tracer knows it

LOST = (httpx.TransportError, httpx.DecodingError)
# With these, nothing of the request has left.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True)
class Options:
    """`timeout` in seconds for each attempt: to connect, and between two pieces of the answer."""

    retry: Retry = field(default_factory=Retry)
    timeout: float = 10.0
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class TokenSource:
    """The headers that say who asks, and on behalf of what."""

    token: Token
    trace: Trace | None = None

    def current(self) -> str:
        return self.token() if callable(self.token) else self.token

    def headers(self) -> dict[str, str]:
        cause = self.trace() if self.trace else None
        return {"authorization": f"Bearer {self.current()}"} | ({"traceparent": cause} if cause else {})


def sendable(http: httpx.Client | httpx.AsyncClient, call: Call, source: TokenSource) -> httpx.Request:
    headers = source.headers() | dict(call.headers)
    content = None
    if call.body is not None:
        # NaN is no JSON: it is refused here, where the caller's stack tells whose it is.
        content = json.dumps(call.body, ensure_ascii=False, allow_nan=False).encode()
        headers = {"content-type": "application/json"} | headers
    return http.build_request(call.method, call.path, params=call.query, content=content, headers=headers)


def answer_of(response: httpx.Response) -> Answer:
    return Answer(
        response.status_code,
        {name.lower(): text for name, text in response.headers.items()},
        response.content,
    )


def lost(error: Exception) -> Lost:
    return Lost(f"{type(error).__name__}: {error}".rstrip(": "), left=not isinstance(error, UNSENT))
