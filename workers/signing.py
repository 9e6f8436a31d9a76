"""Signatures of outgoing webhooks, as Standard Webhooks 1.0.0 has them: id, time and body, one for each secret."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

from outbox.errors import SettingsError
from outbox.settings import resolve

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


def signer(reference: str) -> Webhook:
    """What signs with the secret that `env:NAME` names. Raises SettingsError, without the secret."""
    secret = resolve(reference)
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise SettingsError(
            f"{reference} is no secret of a webhook: write {PREFIX} and 24 to 64 random bytes in base64"
        )
    return Webhook(secret)


def sign(signers: Sequence[Webhook], identity: str, now: datetime, body: str) -> dict[str, str]:
    """The headers. `identity` is the same for every attempt, so receivers can tell a repeat; the time is the attempt's.
    During a rotation there are several signatures, and a receiver looks for one that it knows."""
    named = {"webhook-id": identity, "webhook-timestamp": str(int(now.timestamp()))}
    if signers:
        at = now.astimezone(UTC)
        named["webhook-signature"] = " ".join(each.sign(identity, at, body) for each in signers)
    return named
