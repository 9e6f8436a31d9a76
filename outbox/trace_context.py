"""W3C trace contexts: what a `traceparent` says, and which one the work at hand belongs to. Every log line is told it,
whether or not anything is traced."""

import re
from collections.abc import MutableMapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, NamedTuple, Self

SHAPE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
SAMPLED = 0x01
NO_TRACE, NO_SPAN = "0" * 32, "0" * 16

# Of the request or the delivery that is being worked on. Always one that `parse` takes.
HERE: ContextVar[str | None] = ContextVar("traceparent", default=None)


class TraceContext(NamedTuple):
    """https://www.w3.org/TR/trace-context/#traceparent-header-field-values"""

    trace_id: str
    span_id: str
    flags: int

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def parse(traceparent: str | None) -> TraceContext | None:
    """None for what is to be ignored: another shape, version ff, and ids of nothing but zeros."""
    if traceparent is None or not (found := SHAPE.fullmatch(traceparent)):
        return None
    version, trace_id, span_id, flags = found.groups()
    if version == "ff" or trace_id == NO_TRACE or span_id == NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, int(flags, 16))


def trace_id(traceparent: str | None) -> str | None:
    context = parse(traceparent)
    return context and context.trace_id


def here() -> str | None:
    return HERE.get()


class Within:
    """`with Within(traceparent):` – what is done and logged there belongs to it. None leaves it open."""

    __slots__ = ("_before", "_traceparent")

    def __init__(self, traceparent: str | None) -> None:
        self._traceparent = traceparent

    def __enter__(self) -> Self:
        self._before: Token[str | None] = HERE.set(self._traceparent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        HERE.reset(self._before)


def leave() -> None:
    """For a task that works for many: it was started by one of them, and inherited that one's context."""
    HERE.set(None)


def named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: the ids of the work at hand. Without a span of ours, the span is the caller's."""
    if (traceparent := HERE.get()) is not None:
        event["trace_id"], event["span_id"] = traceparent[3:35], traceparent[36:52]
    return event
