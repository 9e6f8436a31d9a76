"""The provider token of APNs: a JWT by ES256, renewed often enough and not too often.

"Refresh your token no more than once every 20 minutes and no less than once every 60 minutes."
https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from outbox.errors import SettingsError

RENEW_SECONDS = 40 * 60.0
NOT_BEFORE_SECONDS = 20 * 60.0


@dataclass(slots=True)
class Signer:
    key: EllipticCurvePrivateKey = field(repr=False)
    key_id: str
    team_id: str
    _token: str = ""
    _signed_at: float = 0.0

    def token(self, now: float, refused: str | None = None) -> str:
        """`now` in Unix seconds. A `refused` one is replaced only where APNs would take another so soon."""
        age = now - self._signed_at
        if (
            not self._token
            or not 0 <= age <= RENEW_SECONDS
            or (self._token == refused and age >= NOT_BEFORE_SECONDS)
        ):
            claims = {"iss": self.team_id, "iat": int(now)}
            self._token = jwt.encode(claims, self.key, "ES256", headers={"kid": self.key_id})
            self._signed_at = now
        return self._token


@lru_cache(maxsize=64)
def signer(secret: str, key_id: str, team_id: str) -> Signer:
    """One for all lanes of a process, or each would have a token of its own, and APNs counts them. `secret`: the
    .p8 key itself, or the path of its file. Raises SettingsError, without either."""
    try:
        text = secret if "-----BEGIN" in secret else Path(secret).read_text(encoding="ascii")
        key = load_pem_private_key(text.encode(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"APNs' key is no .p8 key, nor the path of one: {type(error).__name__}") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise SettingsError("APNs' key must be one for ES256 (P-256), as Apple gives them out")
    return Signer(key, key_id, team_id)
