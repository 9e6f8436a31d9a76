"""A push as it is meant, for any device, and how much of it fits. Pure."""

import json
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

from db.push import Device
from outbox.envelope import Envelope, Priority
from outbox.rendering.renderers import Rendered
from workers.outcome import Permanent, clean

# FCM and APNs alike: "Maximum payload is 4096 bytes".
PAYLOAD_BYTES = 4096
# FCM's longest; APNs keeps for 30.
LONGEST_SECONDS = 28 * 24 * 3600
# apns-collapse-id: "must not exceed 64 bytes".
COLLAPSE_BYTES = 64
# What FCM keeps for itself (messages' data), and APNs' own dictionary.
RESERVED = frozenset({"from", "notification", "message_type", "aps"})
RESERVED_PREFIXES = ("google", "gcm")
ELLIPSIS = "…"

CollapseBy = Literal["notification", "template"]


@dataclass(frozen=True, slots=True)
class Push:
    """`collapse`: of two with the same a device shows the later one. `queue`: of two with the same, where a producer
    named one, only the later one waits for a device that is away."""

    notification_id: UUID
    title: str
    body: str
    data: Mapping[str, str]
    priority: Priority
    ttl_seconds: int
    collapse: str
    queue: str | None
    badge: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """A push for one device, until `ends` on the loop's clock."""

    push: Push
    device: Device
    ends: float


def compose(
    envelope: Envelope, rendered: Rendered, badge: int, collapse_by: CollapseBy, now: datetime
) -> Push | Permanent:
    title, body = storable(" ".join(rendered.subject.split())), storable(rendered.text.strip())
    if not title and not body:
        return Permanent("template", "the template gave neither a title (subject) nor a body (body_text)")
    data = texts(envelope)
    if odd := sorted(key for key in data if reserved(key)):
        return Permanent(
            "payload", clean(f"payload.data must not have the key {odd[0]!r}: it is the provider's")
        )
    queue = collapse_key(envelope, collapse_by)
    return Push(
        notification_id=envelope.notification_id,
        title=title,
        body=body,
        data=data,
        priority=envelope.priority,
        ttl_seconds=ttl(envelope.expires_at, now),
        collapse=bounded(queue or str(envelope.notification_id)),
        queue=bounded(queue) if queue else None,
        badge=badge,
    )


def storable(text: str) -> str:
    """No lone surrogates, which no encoding holds."""
    return text.encode("utf-8", "replace").decode()


def texts(envelope: Envelope) -> dict[str, str]:
    """What the app gets besides: which notification it is, where it leads, and payload.data, all as text."""
    given, url = envelope.payload.get("data"), envelope.payload.get("url")
    own = {"notification_id": str(envelope.notification_id), "event_type": envelope.event_type}
    return (
        ({str(key): as_text(value) for key, value in given.items()} if isinstance(given, dict) else {})
        | ({"url": url} if isinstance(url, str) else {})
        | own
    )


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def reserved(key: str) -> bool:
    return key in RESERVED or key.startswith(RESERVED_PREFIXES)


def collapse_key(envelope: Envelope, by: CollapseBy) -> str | None:
    given = envelope.payload.get("collapse_key")
    if isinstance(given, str) and given:
        return given
    return (envelope.template_name or envelope.event_type) if by == "template" else None


def bounded(key: str) -> str:
    return key if len(key.encode()) <= COLLAPSE_BYTES and key.isascii() else sha256(key.encode()).hexdigest()


def ttl(expires_at: datetime | None, now: datetime) -> int:
    """Seconds that a device may be away; 0: now or never."""
    if expires_at is None:
        return LONGEST_SECONDS
    return max(0, min(int((expires_at - now).total_seconds()), LONGEST_SECONDS))


def fitted(build: Callable[[str], bytes], body: str) -> str | None:
    """The body, or as much of it as fits into a payload; None where the payload is too large even with next to none."""
    if len(build(body)) <= PAYLOAD_BYTES:
        return body
    number = bisect_right(range(len(body)), PAYLOAD_BYTES, key=lambda n: len(build(shortened(body, n)))) - 1
    return shortened(body, number) if number >= 0 else None


def shortened(body: str, characters: int) -> str:
    """Not cut between a letter and its marks, nor within a joined emoji."""
    end = characters
    while 0 < end < len(body) and joined(body, end):
        end -= 1
    return body[:end].rstrip() + ELLIPSIS


def joined(body: str, at: int) -> bool:
    """Whether the character there belongs to the one before."""
    zwj = "\u200d"
    return bool(unicodedata.combining(body[at])) or zwj in body[at - 1 : at + 1] or body[at] in "\ufe0e\ufe0f"


def too_large(push: Push) -> Permanent:
    told = len(json.dumps(dict(push.data), ensure_ascii=False).encode())
    return Permanent(
        "too_large",
        f"the push has more than {PAYLOAD_BYTES} bytes even with a shortened body: "
        f"the title has {len(push.title.encode())}, payload.data and payload.url {told}",
        sends=0,
    )
