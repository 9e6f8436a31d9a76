"""Unsubscribe links (RFC 8058): what a signed link says, made by the workers and read by the API. Pure.

A link names the user, not the address: it holds when the address changes, and it does not expire, because mail is kept
for years. It can be forged by nobody without the key, and does nothing but switch mail off.
"""

import json
from dataclasses import dataclass
from uuid import UUID

from outbox.signing import same, tag, to_bytes, to_text

VERSION = b"1"
PATH = "/v1/unsubscribe"
ALL = "*"  # every event type
TOKEN_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Wish:
    """No more of these, on this channel, for this user. `notification_id`: in which message the link stood."""

    user_id: str
    channel: str
    event_type: str
    notification_id: UUID


def link(base_url: str, key: bytes, wish: Wish) -> str:
    return f"{base_url.rstrip('/')}{PATH}/{sign(key, wish)}"


def sign(key: bytes, wish: Wish) -> str:
    facts = [wish.user_id, wish.channel, wish.event_type, wish.notification_id.hex]
    said = json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()
    return f"{to_text(said)}.{to_text(tag(key, VERSION, said))}"


def read(key: bytes, token: str) -> Wish | None:
    """What a link asks for; None where it was not made with this key."""
    first, _, second = token[: TOKEN_CHARACTERS + 1].partition(".")
    said, mac = to_bytes(first), to_bytes(second)
    if said is None or mac is None or not same(mac, tag(key, VERSION, said)):
        return None
    user_id, channel, event_type, notification = json.loads(said)  # ours: the tag holds
    return Wish(user_id, channel, event_type, UUID(hex=notification))
