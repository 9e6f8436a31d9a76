"""Access tokens: JWT (RFC 7519), HS256 with the installation's secret. Checked by the API and the gateway."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import jwt

from outbox.errors import UnauthenticatedError
from outbox.settings import Settings

# Fixed here, never taken from the token's header (RFC 8725 §3.1).
ALGORITHM = "HS256"


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
    """Who speaks, what they may do, and until when."""

    subject: str
    scopes: frozenset[str]
    expires_at: datetime
    via: Via = Via.TOKEN


def issue(settings: Settings, subject: str, scope: Scope, lifetime: timedelta) -> str:
    now = datetime.now(UTC)
    claims = {
        "sub": subject,
        "scope": scope.value,
        "iat": now,
        "exp": now + lifetime,
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
    }
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), ALGORITHM)


def verify(settings: Settings, token: str) -> Identity:
    """The identity a token proves. Raises UnauthenticatedError with the reason."""
    try:
        claims = jwt.decode(
            token,
            settings.jwt_secret.get_secret_value(),
            algorithms=[ALGORITHM],
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            leeway=timedelta(seconds=10),
            options={"require": ["exp", "sub", "aud", "iss"], "enforce_minimum_key_length": True},
        )
    except jwt.PyJWTError as error:
        raise UnauthenticatedError(f"the token does not hold: {error}") from None
    try:
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    except (OverflowError, ValueError, OSError):
        raise UnauthenticatedError("the token does not hold: exp is no date") from None
    return Identity(
        subject=str(claims["sub"]),
        scopes=frozenset(str(claims.get("scope", "")).split()),
        expires_at=expires_at,
    )
