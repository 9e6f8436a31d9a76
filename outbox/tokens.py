"""Access tokens: JWT (RFC 7519): what they must say, and who that makes the caller. outbox.verifier has the keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import jwt

from outbox.errors import SettingsError, UnauthenticatedError
from outbox.limits import NONE, Limits
from outbox.settings import Settings
from outbox.signed_by import SHARED, Algorithm

REQUIRED = ["exp", "sub", "aud", "iss"]


class Via(StrEnum):
    """What somebody came in with."""

    TOKEN = "token"  # noqa: S105 - a word, no password
    KEY = "key"
    COMMAND = "command"  # of the command line, by whoever has the service's login


class Scope(StrEnum):
    PRODUCER = "producer"  # may create notifications and follow them
    BOUNCES = "bounces"  # may hand in mails that came back, and nothing else
    USER = "user"  # may read the own inbox
    ADMIN = "admin"  # may look at what failed, and change how things are sent


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks, what they may do, and until when. `limits` and `rate` are those of an API key."""

    subject: str
    scopes: frozenset[str]
    expires_at: datetime
    via: Via = Via.TOKEN
    limits: Limits = field(default=NONE)
    rate: str = ""


def issue(settings: Settings, subject: str, scope: Scope, lifetime: timedelta) -> str:
    """Signed with the installation's secret. Raises SettingsError where such tokens are not accepted."""
    if SHARED not in settings.algorithms:
        raise SettingsError(
            f"OUTBOX_JWT_ALGORITHMS does not name {SHARED}: tokens come from whoever publishes the JWKS"
        )
    now = datetime.now(UTC)
    claims = {
        "sub": subject,
        settings.jwt_scope_claim or "scope": settings.jwt_scope_prefix + scope.value,
        "iat": now,
        "exp": now + lifetime,
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
    }
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), SHARED)


def proven(settings: Settings, token: str, key: str | jwt.PyJWK, algorithm: Algorithm) -> Identity:
    """The identity that a token proves which is signed with this key, by this algorithm and no other (RFC 8725 §3.1).
    Raises UnauthenticatedError."""
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            leeway=timedelta(seconds=settings.jwt_leeway),
            options={"require": REQUIRED, "enforce_minimum_key_length": True},
        )
    except jwt.PyJWTError as error:
        raise UnauthenticatedError(f"the token does not hold: {error}") from None
    try:
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    except (OverflowError, TypeError, ValueError, OSError):  # PyJWT takes the text "4102444800" for a number
        raise UnauthenticatedError("the token does not hold: exp is no date") from None
    return Identity(str(claims["sub"]), scopes(settings, claims), expires_at)


def scopes(settings: Settings, claims: Mapping[str, Any]) -> frozenset[str]:
    """What a token may do: the words of `scope` (RFC 8693 §4.2), of `scp`, or of the claim that the settings name."""
    names = [settings.jwt_scope_claim] if settings.jwt_scope_claim else ["scope", "scp"]
    given = next((claims[name] for name in names if claims.get(name)), "")
    words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    prefix = settings.jwt_scope_prefix
    named = {str(word).removeprefix(prefix) for word in words if str(word).startswith(prefix)}
    if named.isdisjoint(Scope) and settings.jwt_default_scope:
        return frozenset({settings.jwt_default_scope})
    return frozenset(named)
