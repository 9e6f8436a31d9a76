"""What is signed for outsiders – links, bounce addresses – and the keys it is signed with. Pure."""

import base64
import binascii
import hashlib
import hmac


def derive(secret: str, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose alone: HKDF with SHA-256, no salt, one block (RFC 5869 §2.2, §2.3)."""
    extracted = hmac.digest(bytes(hashlib.sha256().digest_size), secret.encode(), "sha256")
    return hmac.digest(extracted, b"outbox " + purpose.encode() + b"\x01", "sha256")


def tag(key: bytes, *parts: bytes, size: int = 16) -> bytes:
    """The first `size` bytes of the MAC over the parts. Each goes in with its length, so that none can borrow from
    its neighbour."""
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(key, framed, "sha256")[:size]


def same(one: bytes, other: bytes) -> bool:
    """In a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


def to_text(data: bytes) -> str:
    """Fit for a URL: base64url without padding (RFC 4648 §5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def to_bytes(text: str) -> bytes | None:
    """to_text() the other way round. None for any other spelling, so that a token has only one."""
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if to_text(data) == text else None
