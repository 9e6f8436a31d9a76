"""Bounce addresses: each mail's own envelope sender (VERP), which tells whose bounce came back. Pure.

`bounce@example.com` becomes `bounce+<token>@example.com`. The token is the notification's id and a tag over it, the
channel and the recipient's address: who can read a token got that mail, and can say of that address alone that it
bounced. In base32, because a mail server may change the case of a local part, which has 64 octets at most (RFC 5321
§4.5.3.1.1).
"""

import base64
import binascii
import re
from dataclasses import dataclass
from uuid import UUID

from outbox.signing import same, tag

TAG_BYTES = 10
TOKEN = re.compile(r"\+([a-z2-7]{42})@")  # 26 bytes in base32, without padding


@dataclass(frozen=True, slots=True)
class Token:
    """What stands in a bounce address. It proves nothing before `holds` was asked."""

    notification_id: UUID
    tag: bytes


def envelope_sender(key: bytes, bounce_address: str, token_of: tuple[UUID, str, str]) -> str:
    """The address that bounces of this (notification, channel, recipient's address) go to."""
    notification_id, channel, address = token_of
    data = notification_id.bytes + sign(key, notification_id, channel, address)
    local, _, domain = bounce_address.rpartition("@")
    return f"{local}+{base64.b32encode(data).decode().rstrip('=').lower()}@{domain}"


def find(text: str) -> Token | None:
    """The first token in a header or an address."""
    found = TOKEN.search(text.lower())
    if found is None:
        return None
    try:
        data = base64.b32decode(found[1].upper() + "=" * (-len(found[1]) % 8))
    except binascii.Error:
        return None
    return Token(UUID(bytes=data[:16]), data[16:])


def holds(key: bytes, token: Token, channel: str, address: str) -> bool:
    """Whether the token was made for a mail on this channel to this address."""
    return same(token.tag, sign(key, token.notification_id, channel, address))


def sign(key: bytes, notification_id: UUID, channel: str, address: str) -> bytes:
    return tag(key, notification_id.bytes, channel.encode(), address.lower().encode(), size=TAG_BYTES)
