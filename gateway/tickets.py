"""Tickets for event streams: what a browser's EventSource, which cannot send headers, puts into the URL.

A ticket opens streams for half a minute and nothing else, so that one found in a log is worth nothing. Pure.
"""

from datetime import UTC, datetime, timedelta

import jwt

from outbox.errors import UnauthenticatedError
from outbox.settings import Settings
from outbox.tokens import Identity, Scope

ALGORITHM = "HS256"
LIFETIME = timedelta(seconds=30)
PURPOSE = "events ticket"  # the key is of no use for anything else


def issue(settings: Settings, identity: Identity) -> str:
    """The stream ends with the token that the ticket was got for."""
    now = datetime.now(UTC)
    claims = {
        "sub": identity.subject,
        "exp": min(now + LIFETIME, identity.expires_at),
        "until": identity.expires_at.timestamp(),
    }
    return jwt.encode(claims, settings.link_key(PURPOSE), ALGORITHM)


def redeem(settings: Settings, ticket: str) -> Identity:
    """Raises UnauthenticatedError."""
    try:
        claims = jwt.decode(
            ticket,
            settings.link_key(PURPOSE),
            algorithms=[ALGORITHM],
            options={"require": ["exp", "sub", "until"]},
        )
    except jwt.PyJWTError as error:
        raise UnauthenticatedError(f"the ticket does not hold: {error}") from None
    until = datetime.fromtimestamp(claims["until"], UTC)
    return Identity(subject=claims["sub"], scopes=frozenset({Scope.USER}), expires_at=until)
