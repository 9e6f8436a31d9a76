"""The span of what a request sends. Its context is what the rows carry, so all that comes of them hangs beneath it."""

from collections.abc import Sequence

from outbox import tracing
from outbox.envelope import Notification
from outbox.trace_context import here
from outbox.tracing import Attributes, Kind, Span

# https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
NAME = "send notify.outbox"
SENDING: Attributes = {
    "messaging.system": "postgresql",
    "messaging.destination.name": "notify.outbox",
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
}


def begin(notifications: Sequence[Notification]) -> tuple[Span, Sequence[Notification]]:
    """It, and the notifications as they are to be stored: beneath it what this request alone has caused. What names
    another cause keeps that, and the span is linked to it."""
    request = here()
    if not tracing.on():
        return Span(request), notifications
    number = len(notifications)
    more = {"messaging.batch.message_count": number} if number > 1 else {}
    span = tracing.begin(NAME, Kind.PRODUCER, request, {**SENDING, **more})
    if not span.recorded:
        return span, notifications
    others = dict.fromkeys(
        each.traceparent for each in notifications if each.traceparent not in {None, request}
    )
    span.link([cause for cause in others if cause][: tracing.LINKS])
    return span, [
        each.model_copy(update={"traceparent": span.traceparent}) if each.traceparent == request else each
        for each in notifications
    ]
