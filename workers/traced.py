"""The spans of a delivery: one from its claim to its settlement, and beneath it what was done meanwhile.

Retries, escalations and redrives are further ones of the same trace, each with its attempt. No address, no payload and
no user is in them.
"""

import time
from collections.abc import Sequence

from db.delivery import Claim, Settlement, Status
from outbox import tracing
from outbox.streams import GROUP
from outbox.tracing import Attributes, Kind, Span
from workers.entries import Entry
from workers.job import Settled
from workers.outcome import Deferred, Delivered, LeaseShort, Outcome, error_class

# https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
PROCESSING = {
    "messaging.system": "redis",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.consumer.group.name": GROUP,
}
POSTGRES = {"db.system.name": "postgresql"}
WRONG = frozenset({Status.FAILED, Status.RETRYING, Status.UNKNOWN})


def now() -> int:
    """As spans have it; 0 where nothing is traced."""
    return time.time_ns() if tracing.on() else 0


def processing(entry: Entry, claim: Claim, stream: str, began: int) -> Span:
    """Of what was claimed a moment ago; `began`: when the claim did."""
    if not began or claim.attempts is None:
        return tracing.carried(entry.envelope.traceparent)
    attributes: Attributes = {
        **PROCESSING,
        "messaging.destination.name": stream,
        "messaging.message.id": str(entry.notification_id),
        "outbox.entry_id": entry.id.decode(),
        "outbox.attempt": claim.attempts,
        "outbox.taken_over": claim.taken_over,
    }
    span = tracing.begin(f"process {stream}", Kind.CONSUMER, entry.envelope.traceparent, attributes, at=began)
    child(span, "claim", began)
    return span


def child(span: Span, name: str, began: int) -> None:
    """What was done for a whole batch, from `began` until now."""
    if span.recorded and began:
        tracing.begin(name, Kind.CLIENT, span.traceparent, POSTGRES, at=began).end()


def settled(items: Sequence[Settled], began: int) -> None:
    """These are committed; `began`: when that did."""
    for item in items:
        span = item.job.span
        if span.recorded:
            child(span, "settle", began)
            finish(span, item.settlement)


def finish(span: Span, settlement: Settlement) -> None:
    facts: dict[str, str | float | None] = {
        "outbox.status": settlement.status.value,
        "outbox.provider": settlement.provider,
        "outbox.retry_in_seconds": settlement.retry_in,
        "outbox.sends": settlement.sends or None,
    }
    span.note({name: fact for name, fact in facts.items() if fact is not None})
    if settlement.status in WRONG:
        span.fail(settlement.error_class or settlement.status.value)
    span.end()


def abandon(span: Span, why: str) -> None:
    """Somebody else settles it, or it is tried anew."""
    span.note({"outbox.status": why})
    span.end()


def answered(span: Span, outcome: Outcome) -> None:
    """What a provider made of a request."""
    match outcome:
        case LeaseShort():
            span.note({"outbox.outcome": "lease_short"})
        case Delivered():
            told = {"outbox.provider_message_id": outcome.message_id} if outcome.message_id else {}
            span.note({"outbox.outcome": "delivered", **told})
        case Deferred():
            span.note({"outbox.outcome": outcome.error_class})
        case _:
            span.note({"outbox.outcome": error_class(outcome)})
            span.fail(error_class(outcome))
