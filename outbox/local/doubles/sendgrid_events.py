"""The other half of SendGrid's double: events about a mail it took, signed as its event webhook signs them
(twilio.com/docs/sendgrid/for-developers/tracking-events/event, …/getting-started-event-webhook-security-features)."""

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from outbox.local.doubles.received import Received


def new_key() -> EllipticCurvePrivateKey:
    return generate_private_key(SECP256R1())


@dataclass(frozen=True, slots=True)
class Signer:
    key: EllipticCurvePrivateKey = field(default_factory=new_key)

    @property
    def verification_key(self) -> str:
        """As the settings page of the webhook shows it: for OUTBOX_SENDGRID_WEBHOOK_KEYS."""
        der = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    def request(
        self, events: Sequence[dict[str, Any]], at: float | None = None
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of the POST. The body ends in CRLF, which is signed, too."""
        timestamp = str(int(time.time() if at is None else at))
        body = json.dumps(list(events)).encode() + b"\r\n"
        signature = self.key.sign(timestamp.encode() + body, ECDSA(SHA256()))
        return {
            "Content-Type": "application/json",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }, body


def event(kind: str, mail: Received, **more: Any) -> dict[str, Any]:
    """About a mail that the double took. Custom arguments stand among the event's own fields."""
    return {
        "event": kind,
        "email": mail.to,
        "timestamp": int(time.time()),
        "sg_event_id": base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("="),
        "sg_message_id": mail.id,
        "smtp-id": mail.details["headers"].get("Message-ID", ""),
        **mail.details["custom_args"],
        **more,
    }
