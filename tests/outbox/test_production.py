"""Production: refused with what everybody knows, each key named with its rule, and no secret shown."""

import secrets
from typing import Any

import pytest

from outbox.errors import SettingsError
from outbox.production import refusals, refuse, weakness
from outbox.settings import Settings
from tests.conftest import SECRET

GOOD: dict[str, Any] = {
    "DATABASE_URL": "postgresql://app:kx8Bv2qLw9@db/app",
    "REDIS_URL": "redis://:kx8Bv2qLw9@cache/0",
    "jwt_secret": "kV3m/9sQx2Lw7RzTq0YbN4hGfDcEaPuJ+1i5oKtX8yZBrMvS",
    "api_url": "https://notify.example.com",
    "gateway_url": "wss://notify.example.com",
    "env": "production",
}


def said(**changed: Any) -> list[str]:
    return [line.split(":")[0].split("=")[0] for line in refusals(Settings(**GOOD | changed))]


def test_what_is_good_passes() -> None:
    refuse(Settings(**GOOD))
    refuse(Settings(**GOOD | {"link_secret": secrets.token_hex(16)}))


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ({"jwt_secret": SECRET}, ["OUTBOX_JWT_SECRET"]),
        ({"jwt_secret": "hunter2-" * 5}, ["OUTBOX_JWT_SECRET"]),
        ({"jwt_secret": ("kV3m/9sQ" * 6)[:44]}, ["OUTBOX_JWT_SECRET"]),
        ({"jwt_secret": "0" * 64}, ["OUTBOX_JWT_SECRET"]),
        ({"jwt_secret": "abababababababababababababababab"}, ["OUTBOX_JWT_SECRET"]),
        ({"link_secret": "Change_Me" * 5}, ["OUTBOX_LINK_SECRET"]),
        ({"DATABASE_URL": "postgresql://app:change-me@db/app"}, ["DATABASE_URL"]),
        ({"REDIS_URL": "redis://:redis@cache/0"}, ["REDIS_URL"]),
        ({"migrate_database_url": "postgresql://o:postgres@db/app"}, ["OUTBOX_MIGRATE_DATABASE_URL"]),
        ({"api_url": None}, ["OUTBOX_API_URL"]),
        ({"api_url": "http://notify.example.com"}, ["OUTBOX_API_URL"]),
        ({"gateway_url": "ws://notify.example.com"}, ["OUTBOX_GATEWAY_URL"]),
        ({"jwt_jwks_url": "http://id.example.com/jwks"}, ["OUTBOX_JWT_JWKS_URL"]),
        ({"recipient_url": "http://users.internal/{user_id}"}, ["OUTBOX_RECIPIENT_URL"]),
        ({"gateway_origins": ["https://a", "http://b"]}, ["OUTBOX_GATEWAY_ORIGINS"]),
    ],
)
def test_each_key_is_named(changed: dict[str, Any], keys: list[str]) -> None:
    assert said(**changed) == keys


def test_all_at_once_without_a_secret_and_not_in_development() -> None:
    bad = GOOD | {"jwt_secret": SECRET, "DATABASE_URL": "postgresql://app:change-me@db/app", "api_url": None}
    with pytest.raises(SettingsError) as caught:
        refuse(Settings(**bad))
    assert len(str(caught.value).splitlines()) == 3
    assert SECRET not in str(caught.value)
    assert "change-me" not in str(caught.value)
    refuse(Settings(**bad | {"env": "development"}))


def test_plain_http_may_be_allowed() -> None:
    assert said(api_url="http://10.0.0.1", allow_plain_http=True) == []


def test_what_openssl_makes_is_strong_enough() -> None:
    for _ in range(300):
        for secret in (secrets.token_hex(16), secrets.token_urlsafe(24), secrets.token_urlsafe(48)):
            assert weakness(secret) is None, secret
