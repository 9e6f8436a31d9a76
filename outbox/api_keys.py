"""API keys as they are written: obx_<id>_<secret><checksum>. Pure.

The beginning lets scanners of repositories find a key that somebody has committed, and the checksum lets them, and us,
know a real one from a random word without asking a database (as GitHub's tokens do it). The secret is 256 bits by the
system's generator, so no slow hash is needed: there is nothing to guess, and SHA-256 of the whole is enough.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

PREFIX = "obx_"
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_CHARACTERS = 12
SECRET_CHARACTERS = 43  # 62^43 > 2^256
CHECK_CHARACTERS = 6  # 62^6 > 2^32
FORM = re.compile(
    rf"obx_([0-9A-Za-z]{{{ID_CHARACTERS}}})_[0-9A-Za-z]{{{SECRET_CHARACTERS}}}([0-9A-Za-z]{{{CHECK_CHARACTERS}}})"
)


@dataclass(frozen=True, slots=True)
class NewKey:
    """`text` is shown once, and then forgotten."""

    id: str
    text: str

    @property
    def hash(self) -> bytes:
        return digest(self.text)


def make() -> NewKey:
    id_ = drawn(ID_CHARACTERS)
    body = f"{PREFIX}{id_}_{drawn(SECRET_CHARACTERS)}"
    return NewKey(id_, body + checksum(body))


def drawn(characters: int) -> str:
    return "".join(secrets.choice(DIGITS) for _ in range(characters))


def checksum(body: str) -> str:
    """CRC-32 in base 62, as GitHub's tokens end."""
    number, text = zlib.crc32(body.encode()), ""
    for _ in range(CHECK_CHARACTERS):
        number, digit = divmod(number, len(DIGITS))
        text = DIGITS[digit] + text
    return text


def id_of(text: str) -> str | None:
    """The id in what looks like a key and has the right checksum; None for everything else."""
    found = FORM.fullmatch(text)
    return found[1] if found and checksum(text[:-CHECK_CHARACTERS]) == found[2] else None


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def proves(text: str, hash_: bytes) -> bool:
    """In a time that does not tell where they differ."""
    return hmac.compare_digest(digest(text), hash_)
