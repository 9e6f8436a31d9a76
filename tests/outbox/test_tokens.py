"""Tokens: what is issued is accepted, and nothing else is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from outbox.errors import UnauthenticatedError
from outbox.settings import Settings
from outbox.tokens import Identity, Scope, issue, proven
from tests.conftest import SECRET

MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings() -> Settings:
    return Settings(DATABASE_URL="postgresql://db/x", REDIS_URL="redis://cache", jwt_secret=SECRET)


def verify(settings: Settings, token: str) -> Identity:
    return proven(settings, token, settings.jwt_secret.get_secret_value(), "HS256")


@pytest.fixture
def claims(settings: Settings) -> dict[str, Any]:
    return jwt.decode(issue(settings, "u-1", Scope.USER, MINUTE), options={"verify_signature": False})


def test_an_issued_token_proves_who_and_what(settings: Settings) -> None:
    identity = verify(settings, issue(settings, "u-1", Scope.USER, MINUTE))
    assert (identity.subject, set(identity.scopes)) == ("u-1", {"user"})
    assert timedelta(0) < identity.expires_at - datetime.now(UTC) <= MINUTE


def test_several_scopes_are_told_apart(settings: Settings, claims: dict[str, Any]) -> None:
    token = jwt.encode(claims | {"scope": "user producer"}, SECRET, "HS256")
    assert verify(settings, token).scopes == {"user", "producer"}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": 10**18}, "exp is no date"),
        ({"exp": "4102444800"}, "exp is no date"),
        ({"exp": "soon"}, "exp"),
        ({"sub": None}, "sub"),
        ({"sub": 7}, "ubject"),
        ({"aud": None}, "aud"),
        ({"aud": "other"}, "udience"),
        ({"iss": None}, "iss"),
        ({"iss": "other"}, "ssuer"),
        ({"nbf": 9_999_999_999}, "not yet valid"),
    ],
    ids=str,
)
def test_a_claim_that_is_wrong_or_missing_is_refused(
    settings: Settings, claims: dict[str, Any], changed: dict[str, Any], why: str
) -> None:
    given = {key: value for key, value in (claims | changed).items() if value is not None}
    with pytest.raises(UnauthenticatedError, match=why):
        verify(settings, jwt.encode(given, SECRET, "HS256"))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [("another-secret-of-32-bytes-or-more!!", "HS256"), (SECRET * 2, "HS512"), ("", "none")],
    ids=["other key", "other algorithm", "none"],
)
def test_only_our_key_and_our_algorithm_count(
    settings: Settings, claims: dict[str, Any], key: str, algorithm: str
) -> None:
    token = jwt.encode(claims, key, algorithm)
    with pytest.raises(UnauthenticatedError) as caught:
        verify(settings, token)
    assert token not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.é.é", "\x00", "." * 10_000])
def test_what_is_no_token_is_refused(settings: Settings, token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        verify(settings, token)
