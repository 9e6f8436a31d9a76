"""DKIM signatures (RFC 6376, and RFC 8463 for Ed25519): the mail says whose it is, and that nobody changed it."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from outbox.errors import SettingsError
from outbox.settings import resolve

# What a receiver shows or acts on (RFC 6376 §5.4.1), the unsubscribe headers among them (RFC 8058 §4).
SIGNED = (
    *(b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"),
    *(b"content-transfer-encoding", b"auto-submitted", b"list-unsubscribe", b"list-unsubscribe-post"),
)
LABELS = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?)*")
RSA_BITS = 1024  # RFC 8301 §3.2: receivers take no fewer


@dataclass(frozen=True, slots=True)
class Key:
    """A private key in the spelling that dkimpy wants for its algorithm."""

    selector: bytes
    domain: bytes
    algorithm: bytes
    private: bytes

    def sign(self, content: bytes) -> bytes:
        """The header line."""
        names = present(content)
        # From once more than it is there: another one cannot be added later without breaking the signature.
        covered = [*(name for name in SIGNED if name in names), b"from"]
        line: bytes = dkim.sign(
            content,
            self.selector,
            self.domain,
            self.private,
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=covered,
            signature_algorithm=self.algorithm,
        )
        return line


@dataclass(frozen=True, slots=True)
class Seal:
    """Every key of a channel. An RSA-2048 signature takes some 8 ms of the processor, an Ed25519 one 0.2 ms."""

    keys: Sequence[Key] = ()

    def __call__(self, content: bytes) -> bytes:
        """The content with its signatures before it."""
        return b"".join(key.sign(content) for key in self.keys) + content


def present(content: bytes) -> set[bytes]:
    head = content.partition(b"\r\n\r\n")[0]
    return {line.partition(b":")[0].strip().lower() for line in head.split(b"\r\n") if line[:1] not in b" \t"}


def seal(config: Any, origin_domain: str) -> Seal:
    """From `"dkim": {"selector": …, "domain": …, "key": "env:…"}`, or from a list of such. Raises SettingsError."""
    parts = config if isinstance(config, list) else [config]
    return Seal([read_key(part, origin_domain) for part in parts])


def read_key(part: Any, origin_domain: str) -> Key:
    if not isinstance(part, Mapping):
        raise SettingsError('dkim must be an object like {"selector": …, "domain": …, "key": "env:DKIM_KEY"}')
    for name in ("selector", "domain"):
        if not isinstance(part.get(name), str) or not LABELS.fullmatch(part[name]):
            raise SettingsError(f"dkim: {name}={part.get(name)!r} is no name like those in the DNS")
    if not isinstance(part.get("key"), str):
        raise SettingsError('dkim: key must name the private key, like "env:DKIM_KEY"')
    domain = part["domain"].lower()
    if not aligned(domain, origin_domain.lower()):
        raise SettingsError(
            f"dkim: domain={domain} is neither the domain of from ({origin_domain}) nor one above or below it, "
            "so DMARC would not count the signature"
        )
    algorithm, private = load(resolve(part["key"]))
    return Key(part["selector"].encode(), domain.encode(), algorithm, private)


def aligned(domain: str, origin: str) -> bool:
    """Relaxed alignment (RFC 7489 §3.1.1), as far as it can be told without a list of public suffixes."""
    return domain == origin or domain.endswith("." + origin) or origin.endswith("." + domain)


def load(pem: str) -> tuple[bytes, bytes]:
    """The algorithm and the key of a PEM; line ends may be written as \\n. Raises SettingsError, which shows no key."""
    try:
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError):
        raise SettingsError("the DKIM key is no private key in PEM without a password") from None
    if isinstance(key, Ed25519PrivateKey):
        return b"ed25519-sha256", base64.b64encode(key.private_bytes_raw())
    if isinstance(key, RSAPrivateKey) and key.key_size >= RSA_BITS:
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        return b"rsa-sha256", plain
    raise SettingsError(f"the DKIM key must be RSA of at least {RSA_BITS} bits, or Ed25519")
