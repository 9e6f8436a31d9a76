"""Delivery status reports (RFC 3464), as mail servers send them to the envelope sender. Pure, and shy of nothing:
whatever stands in a mailbox anybody can write to, reading it ends in a report or in None.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from uuid import UUID

from outbox import enhanced_status, verp
from outbox.verp import Token

# Of a report, the part that counts stands at the beginning; what follows is the mail that came back.
READ_BYTES = 256 * 1024
# Real reports have three parts. Nesting costs the parser the square of its depth.
PARTS = 30
# What the standard library's parser is known to raise at mails made to break it.
PARSER_ERRORS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
MESSAGE_ID = re.compile(r"<([0-9a-f-]{36})\.([a-z][a-z0-9-]{0,39})@[^<>@\s]{1,255}>")
PRINTABLE = r"[^\s<>@,;\"\x00-\x1f\x7f-\x9f\ud800-\udfff]"
ADDRESS = re.compile(PRINTABLE + "{1,200}@" + PRINTABLE + "{1,255}")
# Where mail servers write the address that the report came to.
ENVELOPE_HEADERS = ("Delivered-To", "X-Original-To", "Envelope-To", "To")


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """About one recipient. `token` and `message_id` tell which mail it is about, each in its own way; `addresses` are
    those that the report names as its recipient. None of it is proven."""

    action: str  # failed, delayed, delivered, relayed, expanded
    status: str
    token: Token | None
    message_id: tuple[UUID, str] | None  # notification and channel
    addresses: frozenset[str]

    @property
    def event(self) -> str:
        """As the timeline has it."""
        return {"failed": "bounced", "delayed": "delayed"}.get(self.action, "arrived")

    @property
    def no_such_address(self) -> bool:
        return self.action == "failed" and enhanced_status.no_such_address(self.status)


def read(raw: bytes, envelope_to: str = "") -> DeliveryReport | None:
    """The first recipient of the report in a mail: our mails have one. None where there is none. `envelope_to`: the
    address it came to, where the mail server said so; else it is looked for in the headers."""
    raw = raw[:READ_BYTES]
    if raw.lower().count(b"content-type") > PARTS:
        return None
    try:
        message = BytesParser(policy=compat32).parsebytes(raw)
        return report(message, envelope_to)
    except PARSER_ERRORS:
        return None


def report(message: Message, envelope_to: str) -> DeliveryReport | None:
    fields = next(recipients(message), None)
    if fields is None:
        return None
    action = field(fields, "Action").lower()
    status = enhanced_status.find(field(fields, "Status"))
    if action not in {"failed", "delayed", "delivered", "relayed", "expanded"} or status is None:
        return None
    original = returned(message)
    named = [field(fields, "Original-Recipient"), field(fields, "Final-Recipient")]
    named += [field(original, "To")] if original else []
    return DeliveryReport(
        action,
        status,
        verp.find(envelope_to) or envelope_token(message),
        identity(field(original, "Message-ID")) if original else None,
        frozenset(found[0].lower() for text in named if (found := ADDRESS.search(text))),
    )


def recipients(message: Message) -> Iterator[Message]:
    """The groups of fields in the report, but the first, which is about the whole mail (RFC 3464 §2.1)."""
    for part in message.walk():
        if part.get_content_type() == "message/delivery-status" and isinstance(
            groups := part.get_payload(), list
        ):
            yield from (group for group in groups if isinstance(group, Message) and "Action" in group)


def returned(message: Message) -> Message | None:
    """The headers of the mail that came back."""
    for part in message.walk():
        payload = part.get_payload()
        if part.get_content_type() == "message/rfc822" and isinstance(payload, list) and payload:
            return payload[0] if isinstance(payload[0], Message) else None
        if part.get_content_type() == "text/rfc822-headers" and isinstance(payload, str):
            return BytesParser(policy=compat32).parsebytes(
                payload.encode("ascii", "replace"), headersonly=True
            )
    return None


def envelope_token(message: Message) -> Token | None:
    return next(
        (
            token
            for name in ENVELOPE_HEADERS
            for value in message.get_all(name, [])[:10]
            if (token := verp.find(str(value)[:1000]))
        ),
        None,
    )


def field(part: Message, name: str) -> str:
    return str(part.get(name, ""))[:1000].strip()


def identity(message_id: str) -> tuple[UUID, str] | None:
    """The notification and the channel of a Message-ID of ours."""
    found = MESSAGE_ID.search(message_id)
    try:
        return (UUID(found[1]), found[2]) if found else None
    except ValueError:
        return None
