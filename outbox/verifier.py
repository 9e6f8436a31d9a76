"""Whom a token proves, for the API and the gateway: with the installation's secret, or the keys of a JWKS.

What was verified is remembered by its digest, for a minute at most: so a key that was taken out of the JWKS is good
for no longer than that beyond its next fetch, and a token that is sent with every request costs one signature a minute.
"""

import hashlib
import time

import jwt

from outbox.errors import UnauthenticatedError
from outbox.jwks import Jwks
from outbox.recall import Recall
from outbox.settings import Settings
from outbox.signed_by import SHARED, Algorithm
from outbox.tokens import Identity, proven

REMEMBERED_SECONDS = 60.0
TOKEN_CHARACTERS = 16_384


class Verifier:
    """Of one process. Waits only where keys have to be fetched."""

    def __init__(self, settings: Settings, jwks: Jwks | None = None) -> None:
        self._settings = settings
        self._jwks = jwks or (Jwks(settings) if settings.has_jwks else None)
        self._seen: Recall[bytes, Identity] = Recall()

    async def verify(self, token: str) -> Identity:
        """Raises UnauthenticatedError with the reason, and IssuerAwayError where no key can be fetched."""
        if len(token) > TOKEN_CHARACTERS or not token.isascii():
            raise UnauthenticatedError(
                f"the token does not hold: more than {TOKEN_CHARACTERS} characters, or odd ones"
            )
        digest = hashlib.sha256(token.encode()).digest()
        now = time.time()
        if known := self._seen.get(digest, now):
            return known
        algorithm, kid = self._header(token)
        if algorithm == SHARED or self._jwks is None:
            secret = self._settings.jwt_secret.get_secret_value()
            identity = proven(self._settings, token, secret, SHARED)
        else:
            identity = proven(self._settings, token, await self._jwks.key(kid, algorithm), algorithm)
        ends = identity.expires_at.timestamp() + self._settings.jwt_leeway
        self._seen.put(digest, identity, min(ends, now + REMEMBERED_SECONDS))
        return identity

    def _header(self, token: str) -> tuple[Algorithm, str | None]:
        """The header only picks among what is allowed; which keys serve for it is not its business."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(f"the token does not hold: {error}") from None
        for allowed in self._settings.algorithms:
            if header.get("alg") == allowed:
                return allowed, header.get("kid")
        raise UnauthenticatedError(
            "the token does not hold: it is signed by an algorithm that is not allowed"
        )
