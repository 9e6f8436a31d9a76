"""The mail itself: headers and parts from what was rendered. Pure; refuses what could smuggle in a header."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from uuid import UUID

from outbox.errors import SettingsError
from outbox.rendering.renderers import Rendered

# Seven bits: no server on the way has to know 8BITMIME.
POLICY = SMTP.clone(cte_type="7bit")
SUBJECT_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Letter:
    """What is handed to the mail server."""

    message_id: str
    sender: str
    recipient: str
    content: bytes


class BadAddressError(ValueError):
    """The recipient's address cannot stand in a header."""


def sender(text: str) -> Address:
    """The From of a channel's config: `Name <name@domain>`. Raises SettingsError."""
    name, spec = parseaddr(text)
    try:
        address = Address(display_name=name, addr_spec=spec)
    except (MessageError, ValueError, IndexError):
        address = Address()
    if not (address.username and address.domain and text.isprintable()):
        raise SettingsError(
            f"from={text!r} in the channel's config is no address like Name <name@example.com>"
        )
    return address


def message_id(notification_id: UUID, channel: str, domain: str) -> str:
    """The same at every attempt, so that a mail sent twice can be told by it."""
    return f"<{notification_id}.{channel}@{domain}>"


def one_line(subject: str) -> str:
    """Line ends and other control characters become spaces: a subject cannot begin another header."""
    return " ".join("".join(c if c.isprintable() else " " for c in subject).split())[:SUBJECT_CHARACTERS]


def compose(rendered: Rendered, origin: Address, recipient: str, identity: str) -> Letter:
    """Raises BadAddressError."""
    message = EmailMessage(policy=POLICY)
    message["Subject"] = one_line(rendered.subject)
    message["From"] = origin
    message["To"] = address(recipient)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = identity
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation replies, please
    if rendered.text.strip() or not rendered.html.strip():
        message.set_content(rendered.text)
        if rendered.html.strip():
            message.add_alternative(rendered.html, subtype="html")
    else:
        message.set_content(rendered.html, subtype="html")
    return Letter(identity, origin.addr_spec, recipient, message.as_bytes())


def address(recipient: str) -> Address:
    try:
        parsed = Address(addr_spec=recipient)
    except (MessageError, ValueError, IndexError):
        raise BadAddressError("the recipient's address is not valid") from None
    if not (parsed.username and parsed.domain and recipient.isprintable() and recipient.isascii()):
        raise BadAddressError("the recipient's address is not valid, or not ASCII")
    return parsed
