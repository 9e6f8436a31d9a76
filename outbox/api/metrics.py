"""What the API counts: requests by route, method and status, and how long they took."""

import time
from functools import cache

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = Counter(
    "outbox_api_requests", "Requests answered, by route, method and status.", ["route", "method", "status"]
)
SECONDS = Histogram(
    "outbox_api_request_seconds",
    "From the request's head to the answer's, by route.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH_ROWS = Histogram(
    "outbox_api_batch_rows",
    "Notifications in one commit of those that came by single requests.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
LIMITED = Counter("outbox_api_rate_limited", "Requests refused as too many, by quota.", ["quota"])
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measured:
    """Around the whole application, so that what no route answered is counted, too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(scope, message["status"], time.perf_counter() - started)
            await send(message)

        await self.app(scope, receive, counted)


def count(scope: Scope, status: int, seconds: float) -> None:
    """Only names from fixed sets become labels: a caller must not be able to make new series."""
    route = getattr(scope.get("route"), "path", "unmatched")
    method = scope["method"] if scope["method"] in METHODS else "other"
    requests, taken = series(route, method, status)
    requests.inc()
    taken.observe(seconds)


@cache
def series(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Looked up once: it takes longer than to count."""
    return REQUESTS.labels(route, method, str(status)), SECONDS.labels(route)
