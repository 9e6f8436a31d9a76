"""Each request belongs to its caller's trace: its log lines say so, and where traces are kept it is a span of it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outbox import tracing
from outbox.api.metrics import METHODS
from outbox.trace_context import Within, parse
from outbox.tracing import Kind, Span

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
HEADER = b"traceparent"


class Traced:
    """Names follow OpenTelemetry's conventions for HTTP servers. No path, query or address: they may name a person."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parent = traceparent(scope) if scope["type"] == "http" else None
        if tracing.on() and scope["type"] == "http" and scope["path"] not in PROBES:
            await self._recorded(parent, scope, receive, send)
        elif parent:
            with Within(parent):
                await self.app(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _recorded(self, parent: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        span = tracing.begin_trace(
            method, Kind.SERVER, parent, {"http.request.method": method, "url.scheme": scope["scheme"]}
        )

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                note(span, method, scope, message["status"])
            await send(message)

        with tracing.ending(span):
            await self.app(scope, receive, noted if span.recorded else send)


def note(span: Span, method: str, scope: Scope, status: int) -> None:
    span.note({"http.response.status_code": status})
    if route := getattr(scope.get("route"), "path", None):
        span.rename(f"{method} {plain(route)}")
        span.note({"http.route": plain(route)})
    if status >= 500:
        span.fail(str(status))


def plain(route: str) -> str:
    """/v1/notifications/{id} – how its parts are matched is nobody's business."""
    return route.replace(":bare}", "}").replace(":path}", "}")


def traceparent(scope: Scope) -> str | None:
    """The caller's. A malformed one is ignored, as W3C Trace Context asks (§2.2.1), and so are two."""
    given = [value for name, value in scope["headers"] if name == HEADER]
    text = given[0].decode("latin-1") if len(given) == 1 else None
    return text if parse(text) else None
