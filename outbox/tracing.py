"""Spans: what a request, a delivery or an attempt took, told to a collector by OTLP where OpenTelemetry's own variables
ask for it. Otherwise nothing of OpenTelemetry is imported, and a span is no more than the context it would have had."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING

from outbox.errors import SettingsError
from outbox.settings import Settings
from outbox.trace_context import HERE, Within, parse

if TYPE_CHECKING:
    from outbox.otel import Recorder, Recording

Attributes = Mapping[str, str | int | float | bool]
LINKS = 128  # of one span


class Kind(StrEnum):
    """https://opentelemetry.io/docs/specs/otel/trace/api/#spankind"""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


class Span:
    """`traceparent`: what is handed on to whoever comes next; of a span that is not recorded, its parent's. Whatever is
    said to one that is not recorded is forgotten."""

    __slots__ = ("_recording", "traceparent")

    def __init__(self, traceparent: str | None, recording: "Recording | None" = None) -> None:
        self.traceparent, self._recording = traceparent, recording

    @property
    def recorded(self) -> bool:
        return self._recording is not None

    def note(self, attributes: Attributes) -> None:
        if self._recording:
            self._recording.set_attributes(attributes)

    def rename(self, name: str) -> None:
        if self._recording:
            self._recording.update_name(name)

    def link(self, traceparents: Sequence[str]) -> None:
        """To what led to this in other traces, or in other places of this one."""
        if self._recording:
            self._recording.link(traceparents)

    def fail(self, error_type: str) -> None:
        """By its class alone: what was said may hold anything."""
        if self._recording:
            self._recording.fail(error_type)

    def end(self, at: int | None = None) -> None:
        """`at`: in nanoseconds since 1970; now, if not given. Only the first call counts."""
        if self._recording:
            self._recording.end(at)
            self._recording = None

    def within(self) -> Within:
        """`with span.within():` – what happens there belongs to it. It does not end with that."""
        return Within(self.traceparent)


NOWHERE = Span(None)


class Ending:
    """`with ending(span) as it:` – it ends with the block, and has failed where that raises."""

    __slots__ = ("_span", "_within")

    def __init__(self, begun: Span) -> None:
        self._span, self._within = begun, begun.within()

    def __enter__(self) -> Span:
        self._within.__enter__()
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._within.__exit__(kind, error, trace)
        if kind is not None:
            self._span.fail(kind.__name__)
        self._span.end()


ending = Ending
_recorder: "Recorder | None" = None


def on() -> bool:
    """Whether anything is traced."""
    return _recorder is not None


def carried(traceparent: str | None) -> Span:
    """What is not traced here, and belongs to a trace all the same."""
    return Span(traceparent) if parse(traceparent) else NOWHERE


def begin(
    name: str,
    kind: Kind,
    parent: str | None,
    attributes: Attributes | None = None,
    *,
    at: int | None = None,
) -> Span:
    """A span beneath `parent`. Whether a trace is kept was decided where it began: without a parent that is sampled,
    nothing is recorded. `at`: when it began, in nanoseconds since 1970."""
    context = parse(parent)
    if context is None:
        return NOWHERE
    if _recorder is None or not context.sampled:
        return Span(parent)
    return _recorder.begin(name, kind, context, attributes, at)


def begin_trace(name: str, kind: Kind, parent: str | None, attributes: Attributes | None = None) -> Span:
    """As `begin`, at the door: the sampler (OTEL_TRACES_SAMPLER) decides, and may begin a trace of its own."""
    if _recorder is None:
        return carried(parent)
    context = parse(parent)
    return _recorder.begin(name, kind, context, attributes, None)


def span(name: str, kind: Kind = Kind.INTERNAL, attributes: Attributes | None = None) -> Ending:
    """Beneath what is being worked on here."""
    return Ending(begin(name, kind, HERE.get(), attributes))


def start(settings: Settings, process: str) -> None:
    """Once, at the start of a process. Raises SettingsError where traces are asked for that cannot be made."""
    global _recorder  # noqa: PLW0603 - one process, one stream of spans
    if settings.traced_to is None:
        return
    try:
        from outbox.otel import Recorder  # noqa: PLC0415 - only where it is wanted
    except ImportError as error:
        raise SettingsError(
            f"{settings.traced_to}: asks for traces, and {error.name} is not installed. "
            "Install outbox[tracing], or set OTEL_SDK_DISABLED=true"
        ) from None
    _recorder = Recorder(process)


def stop() -> None:
    """What has ended is told, but nobody is waited for who does not listen."""
    global _recorder
    recorder, _recorder = _recorder, None
    if recorder:
        recorder.close()
