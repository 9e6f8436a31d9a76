"""The mail itself: what a letter holds, and its headers and parts. Pure; refuses what could smuggle in a header."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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
NO_SUBJECT = "(no subject)"
# RFC 5322 §2.1.1: a line has at most 998 characters.
HTTP_URL = re.compile(r"https?://[!-;=?-~]{1,900}")


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail to one recipient, before any provider gives it its form. `recipient` was checked by `address`.
    `bounce`: the envelope sender where it is not the sender's own address; `kind`: letters of the same kind look alike,
    because they were rendered from the same template."""

    notification_id: UUID
    channel: str
    sender: Address
    recipient: str
    rendered: Rendered
    headers: Mapping[str, str] = field(default_factory=dict)
    bounce: str | None = None
    kind: str = ""

    @property
    def message_id(self) -> str:
        """The same at every attempt, so that a mail sent twice can be told by it."""
        return f"<{self.notification_id}.{self.channel}@{self.sender.domain}>"

    @property
    def subject(self) -> str:
        return one_line(self.rendered.subject)

    @property
    def envelope_sender(self) -> str:
        return self.bounce or self.sender.addr_spec


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


def one_line(subject: str) -> str:
    """Line ends and other control characters become spaces: a subject cannot begin another header."""
    return " ".join("".join(c if c.isprintable() else " " for c in subject).split())[:SUBJECT_CHARACTERS]


def unsubscribe_headers(url: str) -> dict[str, str]:
    """RFC 2369 and RFC 8058: one click needs HTTPS; over plain HTTP a program offers the page at most. Raises
    ValueError for what is no URL."""
    if not HTTP_URL.fullmatch(url):
        raise ValueError("an unsubscribe link must be an HTTP URL of printable ASCII")
    one_click = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} if url.startswith("https:") else {}
    return {"List-Unsubscribe": f"<{url}>"} | one_click


def compose(letter: Letter) -> bytes:
    """As it goes over the wire."""
    rendered = letter.rendered
    message = EmailMessage(policy=POLICY)
    message["Subject"] = letter.subject
    message["From"] = letter.sender
    message["To"] = Address(addr_spec=letter.recipient)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = letter.message_id
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation replies, please
    if rendered.text.strip() or not rendered.html.strip():
        message.set_content(rendered.text)
        if rendered.html.strip():
            message.add_alternative(rendered.html, subtype="html")
    else:
        message.set_content(rendered.html, subtype="html")
    return before(letter.headers) + message.as_bytes()


def before(headers: Mapping[str, str]) -> bytes:
    """Lines as they are: the standard library would fold a long link into encoded words, which no mail program takes
    for a link (RFC 8058 §4). They are ours, and were checked when they were made."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("ascii")


def address(recipient: str) -> str:
    """The recipient's address as it is. Raises BadAddressError."""
    try:
        parsed = Address(addr_spec=recipient)
    except (MessageError, ValueError, IndexError):
        raise BadAddressError("the recipient's address is not valid") from None
    if not (parsed.username and parsed.domain and recipient.isprintable() and recipient.isascii()):
        raise BadAddressError("the recipient's address is not valid, or not ASCII")
    return recipient
