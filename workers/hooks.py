"""Pure parts of a webhook: the body, and what an answer means."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from outbox.envelope import Envelope
from workers.circuit import Sign
from workers.outcome import Delivered, Outcome, Permanent, RecipientGone, Transient, Unknown, clean
from workers.posting import Answer
from workers.retry_after import retry_after as wished

THROTTLING = frozenset({429, 502, 503, 504})
RETRY_AFTER_CAP_SECONDS = 86_400.0
QUOTED_CHARACTERS = 120
# The endpoint does not answer, or says that it cannot.
ILL = frozenset({"connection", "tls", "timeout", "protocol", "throttled", "status_5xx"})


def default_body(envelope: Envelope) -> str:
    """As Standard Webhooks advises: what happened, when, and to what."""
    document: dict[str, Any] = {
        "id": str(envelope.notification_id),
        "type": envelope.event_type,
        "timestamp": envelope.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "user_id": envelope.user_id,
        "data": envelope.payload,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def outcome_of(answer: Answer, now: datetime) -> Outcome:
    """Standard Webhooks: 2xx is success, 410 the end; everything else, a redirect too, is tried again by schedule."""
    status = answer.status
    if 200 <= status < 300:
        return Delivered()
    if status == 410:
        return RecipientGone("the endpoint answered 410 Gone, and is switched off")
    after = retry_after(answer.headers, now)
    if status in THROTTLING:
        return Transient("throttled", quote(answer), after)
    if 300 <= status < 400:
        return Transient("redirect", f"the endpoint answered {named(status)}; redirects are not followed")
    return Transient("status_5xx" if status >= 500 else "status_4xx", quote(answer), after)


def quote(answer: Answer) -> str:
    """The status and the beginning of what was said with it: for whoever looks at the timeline."""
    said = clean(answer.text[:QUOTED_CHARACTERS])
    return f"the endpoint answered {named(answer.status)}" + (f": {said}" if said else "")


def named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds, a day at most. What cannot be understood is passed over."""
    seconds = wished(headers.get("retry-after"), now)
    return None if seconds is None else min(seconds, RETRY_AFTER_CAP_SECONDS)


def sign_of(outcome: Outcome) -> Sign:
    """What it says about the endpoint. Any other refusal comes from one that is well."""
    match outcome:
        case Transient(error_class) if error_class in ILL:
            return Sign.ILL
        case Unknown():
            return Sign.ILL
        case Permanent(error_class="egress"):
            return Sign.NONE
    return Sign.WELL
