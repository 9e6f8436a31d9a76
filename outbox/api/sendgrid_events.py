"""SendGrid's signed event webhook: is it SendGrid's, and what do its events mean here? Pure.

Source: twilio.com/docs/sendgrid/for-developers/tracking-events/event (the events) and …/getting-started-event-webhook-
security-features (ECDSA with P-256 and SHA-256 over the timestamp's text and the body's bytes as they came).
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from db.reports import Report
from db.suppressions import Suppression
from outbox import enhanced_status
from outbox.errors import SettingsError

PROVIDER = "sendgrid"
TOLERANCE_SECONDS = 600
SIGNATURE_CHARACTERS = 200
EVENTS = 10_000
# Ours by what is said on the timeline. processed, open, click and the groups' events are not asked about.
NAMES = {
    "delivered": "arrived",
    "deferred": "delayed",
    "bounce": "bounced",
    "dropped": "dropped",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",
}
# SendGrid drops what is on its own lists; these of its reasons are about the address.
DROPPED_FOR = {
    "bounced address": "hard bounce",
    "invalid": "hard bounce",
    "spam reporting address": "spam report",
    "unsubscribed address": "unsubscribed",
}
CHANNEL = re.compile(r"[a-z][a-z0-9-]{0,39}")
EVENT_ID = re.compile(r"[!-~]{1,200}")
PRINTABLE = r"[^\s@\x00-\x1f\x7f-\x9f\ud800-\udfff]"
ADDRESS = re.compile(PRINTABLE + "{1,200}@" + PRINTABLE + "{1,255}")
WORD = re.compile(r"[A-Za-z][A-Za-z _/-]{0,60}")


@dataclass(frozen=True, slots=True)
class Event:
    """What one event leads to."""

    report: Report
    suppression: Suppression | None


def load_keys(texts: Sequence[str]) -> list[EllipticCurvePublicKey]:
    """The verification keys as SendGrid's page shows them: base64 of DER. Raises SettingsError."""
    keys = []
    for text in texts:
        try:
            key = load_der_public_key(base64.b64decode(text, validate=True))
        except (ValueError, TypeError, binascii.Error):
            key = None
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise SettingsError(
                f"OUTBOX_SENDGRID_WEBHOOK_KEYS: {text[:12]}… is no verification key of a signed event webhook"
            )
        keys.append(key)
    return keys


def genuine(
    keys: Sequence[EllipticCurvePublicKey], headers: Mapping[str, str], body: bytes, now: float
) -> bool:
    """Whether one of the keys signed this body, and not longer than the tolerance ago."""
    timestamp = headers.get("x-twilio-email-event-webhook-timestamp", "")
    encoded = headers.get("x-twilio-email-event-webhook-signature", "")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp) or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    try:
        signature = base64.b64decode(encoded[:SIGNATURE_CHARACTERS], validate=True)
    except (ValueError, binascii.Error):
        return False
    return any(signed(key, signature, timestamp.encode() + body) for key in keys)


def signed(key: EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    try:
        key.verify(signature, data, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def read(body: bytes) -> list[Event] | None:
    """The events that concern mails of ours. None: the body is no list of events."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, list):
        return None
    read_each = (read_one(item) for item in document[:EVENTS] if isinstance(item, dict))
    return [event for event in read_each if event is not None]


def read_one(item: Mapping[str, Any]) -> Event | None:
    """Custom arguments stand among the event's own fields."""
    name = NAMES.get(text(item, "event"))
    event_id, channel = text(item, "sg_event_id"), text(item, "channel")
    notification_id = identity(text(item, "notification_id"))
    if name is None or notification_id is None:
        return None
    if not EVENT_ID.fullmatch(event_id) or not CHANNEL.fullmatch(channel):
        return None
    reason = why_suppressed(item)
    address = text(item, "email")
    suppression = Suppression(channel, address, reason) if reason and ADDRESS.fullmatch(address) else None
    return Event(Report(event_id, notification_id, channel, name, detail(item)), suppression)


def why_suppressed(item: Mapping[str, Any]) -> str | None:
    """The reason for which the address is never to be written to again, if this event is one."""
    match item["event"]:
        case "bounce":  # type "blocked": the message was refused, not the address
            return "hard bounce" if text(item, "type") == "bounce" else None
        case "dropped":
            return DROPPED_FOR.get(text(item, "reason").lower())
        case "spamreport":
            return "spam report"
        case "unsubscribe":
            return "unsubscribed"
    return None


def detail(item: Mapping[str, Any]) -> dict[str, Any]:
    """For the timeline. The server's own words are left out: they often quote the address."""
    facts: dict[str, Any] = {"provider": PROVIDER}
    for ours, field, form in (
        ("type", "type", WORD),
        ("classification", "bounce_classification", WORD),
        ("attempt", "attempt", re.compile(r"[0-9]{1,6}")),
    ):
        if form.fullmatch(value := text(item, field)):
            facts[ours] = value
    if status := enhanced_status.find(text(item, "status")[:200]):
        facts["status"] = status
    if isinstance(at := item.get("timestamp"), int) and 0 < at < 2**40:
        facts["happened_at"] = at
    return facts


def text(item: Mapping[str, Any], field: str) -> str:
    value = item.get(field)
    return str(value) if isinstance(value, str | int) else ""


def identity(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None
