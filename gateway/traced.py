"""The last span of an in-app notification: from the hint to the frames.

A socket that was behind reads its items from Postgres, later and without one.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from gateway.protocol import Arrived
from outbox import tracing
from outbox.inbox import InboxChange
from outbox.tracing import Kind, Span

if TYPE_CHECKING:
    from gateway.line import Line

NAME = "push inbox"
UNTRACED = nullcontext()
# https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
PUSHING = {
    "messaging.system": "redis",
    "messaging.destination.template": "user:{id}:notifications",
    "messaging.operation.name": "push",
    "messaging.operation.type": "process",
}


def pushing(
    change: InboxChange | Arrived | None, lines: Sequence["Line"]
) -> AbstractContextManager[Span | None]:
    """Around what tells these lines of a change."""
    if change is None or change.traceparent is None or not lines:
        return UNTRACED
    told = {"outbox.sockets": len(lines), "outbox.sockets_behind": sum(line.behind for line in lines)}
    return tracing.ending(tracing.begin(NAME, Kind.CONSUMER, change.traceparent, {**PUSHING, **told}))
