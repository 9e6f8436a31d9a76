"""What a process refuses to start with in production (OUTBOX_ENV=production, which is what it is unless set): secrets
that somebody can guess, and addresses that are not https. Pure."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from pydantic import SecretStr

from outbox.errors import SettingsError
from outbox.settings import Settings

# A random text of 32 characters holds one of these by chance less than once in a million times.
WORDS = re.compile(
    "secret|change.?me|passw|example|default|develop|insecure|outbox|123456|abcdef|qwerty", re.IGNORECASE
)
# By the frequencies of its characters; `openssl rand -hex 16` has about 115, -base64 48 about 350.
LEAST_BITS = 90
KNOWN_PASSWORDS = frozenset(
    {
        *("change-me", "changeme", "password", "passwd", "secret", "postgres", "redis", "outbox", "admin"),
        *("root", "test", "example", "guest", "default"),
    }
)
MAKE_ONE = "make one with: openssl rand -base64 48"


def refuse(settings: Settings) -> None:
    """Raises SettingsError with every key that is wrong, and the rule."""
    if settings.env == "production" and (found := list(refusals(settings))):
        raise SettingsError("\n".join(found))


def refusals(settings: Settings) -> Iterator[str]:
    """As `KEY: rule`. No secret is in it."""
    yield from weak_secrets(settings)
    yield from known_passwords(settings)
    if not settings.allow_plain_http:
        yield from plain_addresses(settings)


def weak_secrets(settings: Settings) -> Iterator[str]:
    for key, secret in (
        ("OUTBOX_JWT_SECRET", settings.jwt_secret),
        ("OUTBOX_LINK_SECRET", settings.link_secret),
    ):
        if secret is not None and (why := weakness(secret.get_secret_value())):
            yield f"{key}: {why}; {MAKE_ONE}"


def weakness(secret: str) -> str | None:
    """Why it can be guessed."""
    if found := WORDS.search(secret):
        return f"must be random, and holds {found[0]!r}"
    if bits(repeated(secret)) < LEAST_BITS:
        return "must be random, and has too few different characters"
    return None


def repeated(text: str) -> str:
    """The shortest beginning of which the text is a repetition."""
    return next(
        text[:size] for size in range(1, len(text) + 1) if (text[:size] * len(text))[: len(text)] == text
    )


def bits(text: str) -> float:
    """Shannon's entropy of a text of independent characters with these frequencies."""
    counts, length = Counter(text).values(), len(text)
    return -sum(count * math.log2(count / length) for count in counts)


def known_passwords(settings: Settings) -> Iterator[str]:
    urls: dict[str, SecretStr | None] = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "OUTBOX_LISTEN_DATABASE_URL": settings.listen_database_url,
        "OUTBOX_MIGRATE_DATABASE_URL": settings.migrate_database_url,
    }
    for key, url in urls.items():
        if url is not None and urlsplit(url.get_secret_value()).password in KNOWN_PASSWORDS:
            yield f"{key}: its password is one that everybody knows"


def plain_addresses(settings: Settings) -> Iterator[str]:
    rule = "must be https:// (or set OUTBOX_ALLOW_PLAIN_HTTP=true)"
    if settings.api_url is None:
        yield f"OUTBOX_API_URL: is not set, so links in messages would lead to this machine; {rule}"
    addresses: dict[str, Sequence[str | None]] = {
        "OUTBOX_API_URL": [settings.api_url],
        "OUTBOX_GATEWAY_URL": [settings.gateway_url],
        "OUTBOX_JWT_JWKS_URL": [settings.jwt_jwks_url],
        "OUTBOX_RECIPIENT_URL": [settings.recipient_url],
        "OUTBOX_GATEWAY_ORIGINS": settings.gateway_origins,
    }
    for key, given in addresses.items():
        for each in given:
            if each is not None and urlsplit(each).scheme not in {"https", "wss"}:
                yield f"{key}={each}: {rule}"
