"""Accounts at the doubles, as a person has them at the providers. Made once, and kept in a folder."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from outbox.local.doubles.apns import AppleTeam
from outbox.local.doubles.google import ServiceAccount
from outbox.local.doubles.http2 import Certificate, private
from outbox.local.doubles.webhook import new_secret
from outbox.local.ports import LOOPBACK

FILE = "accounts.json"


@dataclass(frozen=True, slots=True)
class Accounts:
    """`certificate` is the one of FCM and APNs, which speak TLS."""

    certificate: Certificate
    google: ServiceAccount = field(default_factory=ServiceAccount)
    apple: AppleTeam = field(default_factory=AppleTeam)
    twilio_token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    sendgrid_key: str = field(default_factory=lambda: f"SG.{secrets.token_urlsafe(16)}", repr=False)
    webhook_secret: str = field(default_factory=lambda: new_secret(secrets.token_bytes(32)), repr=False)

    @classmethod
    def kept(cls, folder: Path, host: str = LOOPBACK) -> Self:
        """Those in the folder; made when they are first needed. `host`: under which the doubles are reached."""
        certificate = Certificate.kept(folder, host)
        if (file := folder / FILE).exists():
            return cls.read(certificate, file)
        made = cls(certificate)
        scratch = file.with_suffix(".tmp")
        private(scratch, json.dumps(made.written()).encode())
        scratch.replace(file)
        return made

    @classmethod
    def read(cls, certificate: Certificate, file: Path) -> Self:
        found = json.loads(file.read_text())
        google = load_pem_private_key(found.pop("google").encode(), None)
        apple = load_pem_private_key(found.pop("apple").encode(), None)
        assert isinstance(google, RSAPrivateKey)
        assert isinstance(apple, EllipticCurvePrivateKey)
        return cls(certificate, ServiceAccount(key=google), AppleTeam(key=apple), **found)

    def written(self) -> dict[str, str]:
        google = self.google.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {
            "google": google.decode(),
            "apple": self.apple.p8,
            "twilio_token": self.twilio_token,
            "sendgrid_key": self.sendgrid_key,
            "webhook_secret": self.webhook_secret,
        }
