"""A small collector: OTLP over HTTP as OpenTelemetry's exporters speak it, kept in memory."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outbox.local.ports import any_free
from outbox.probes import serve
from outbox.service import Stop

PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"
Value = str | bool | int | float | None


@dataclass(frozen=True, slots=True)
class Told:
    """A span as it came. Times in nanoseconds since 1970; `parent` is empty at the root."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    begins: int
    ends: int
    failed: bool
    attributes: Mapping[str, Value]
    links: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Collector:
    """What came, oldest first. While `status` is none of 2xx, it refuses all; if it does not keep, it only takes."""

    port: int = field(default_factory=any_free)
    keeps: bool = True
    status: int = 200
    spans: list[Told] = field(default_factory=list)
    requests: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def up(self) -> AsyncIterator["Collector"]:
        app, stop = Starlette(routes=[Route(PATH, self.take, methods=["POST"])]), Stop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(app, "127.0.0.1", self.port, stop))
            try:
                yield self
            finally:
                stop.ask()

    async def take(self, request: Request) -> Response:
        self.requests += 1
        if self.status >= 300:
            self._news.set()
            return Response(status_code=self.status)
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.keeps:
            self.spans += read(ExportTraceServiceRequest.FromString(body).resource_spans)
        self._news.set()
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type=PROTOBUF)

    async def until(self, enough: Callable[["Collector"], bool], seconds: float = 60) -> None:
        """Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not enough(self):
                self._news.clear()
                await self._news.wait()

    def of(self, trace_id: str) -> list[Told]:
        """One trace, in the order in which its spans began."""
        return sorted(
            (span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.begins
        )


def read(resources: Iterable[ResourceSpans]) -> Iterator[Told]:
    for resource in resources:
        service = str(plain(resource.resource.attributes).get("service.name"))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield told(service, span)


def told(service: str, span: OtlpSpan) -> Told:
    return Told(
        service=service,
        name=span.name,
        kind=OtlpSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        begins=span.start_time_unix_nano,
        ends=span.end_time_unix_nano,
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes=plain(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def plain(attributes: Iterable[KeyValue]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for each in attributes:
        kind = each.value.WhichOneof("value")
        found[each.key] = getattr(each.value, kind) if kind else None
    return found
