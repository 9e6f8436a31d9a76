"""OpenTelemetry's SDK: the only module that imports it, and it is imported only where traces are asked for.

Spans go out in batches, by a thread of the SDK's own; a collector that is away costs spans, and nothing else.
"""

import logging
import threading
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from prometheus_client import Counter

from outbox.log import get
from outbox.trace_context import TraceContext, parse
from outbox.tracing import LINKS, Attributes, Kind, Span

log = get("tracing")

ENDED = Counter("outbox_spans_ended", "Spans that are to be told to the collector.")
EXPORTED = Counter("outbox_spans_exported", "Spans that the collector has taken.")
CLOSE_SECONDS = 2.0
KINDS = {kind: SpanKind[kind.name] for kind in Kind}


class Recorder:
    """Makes spans, and sees to it that they are told."""

    def __init__(self, process: str) -> None:
        quiet_library()
        # What the environment says of the service wins over what we know of it.
        named = Resource.create({}).merge(Resource({"service.name": f"outbox-{process}"}))
        self._provider = TracerProvider(
            resource=named.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_links=LINKS),
        )
        self._provider.add_span_processor(Counted(Told(OTLPSpanExporter())))
        self._tracer = self._provider.get_tracer("outbox")
        log.info("tracing.started", service=str(self._provider.resource.attributes["service.name"]))

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: TraceContext | None,
        attributes: Attributes | None,
        at: int | None,
    ) -> Span:
        made = self._tracer.start_span(
            name,
            context=set_span_in_context(NonRecordingSpan(remote(parent))) if parent else None,
            kind=KINDS[kind],
            attributes=attributes,
            start_time=at,
        )
        own = made.get_span_context()
        traceparent = f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"
        return Span(traceparent, Recording(made) if made.is_recording() else None)

    def close(self) -> None:
        """What has ended is told. A collector that does not listen is left after a while; its thread ends with the
        process."""
        closing = threading.Thread(target=self._provider.shutdown, name="tracing close", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class Recording:
    """A span under way."""

    __slots__ = ("_span",)

    def __init__(self, made: OtelSpan) -> None:
        self._span = made

    def set_attributes(self, attributes: Mapping[str, str | int | float | bool]) -> None:
        self._span.set_attributes(attributes)

    def update_name(self, name: str) -> None:
        self._span.update_name(name)

    def link(self, traceparents: Sequence[str]) -> None:
        for each in traceparents:
            if context := parse(each):
                self._span.add_link(remote(context))

    def fail(self, error_type: str) -> None:
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self, at: int | None) -> None:
        self._span.end(at)


def remote(context: TraceContext) -> SpanContext:
    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(context.flags),
    )


class Counted(BatchSpanProcessor):
    """Where its queue is full (OTEL_BSP_MAX_QUEUE_SIZE) it drops spans: the counters' difference tells."""

    def on_end(self, span: ReadableSpan) -> None:
        ENDED.inc()
        super().on_end(span)


class Told(SpanExporter):
    """An outage of the collector is told once, and its end."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        taken = result is SpanExportResult.SUCCESS
        if taken:
            EXPORTED.inc(len(spans))
        if taken == self._away:
            self._away = not taken
            self._tell()
        return result

    def _tell(self) -> None:
        if self._away:
            log.warning(
                "tracing.not_exported", reason="the collector takes no spans; they are lost meanwhile"
            )
        else:
            log.info("tracing.exported_again")

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def quiet_library() -> None:
    """It warns of each batch, and of each span that its queue has no room for."""
    library = logging.getLogger("opentelemetry")
    library.propagate = False
    library.handlers = [logging.NullHandler()]
