"""Keys of an issuer: kept, fetched anew, fetched once by however many, believed for a while when it is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import time
from typing import Any

import jwt
import pytest
import structlog
from jwt.algorithms import RSAAlgorithm
from prometheus_client import REGISTRY

from outbox.errors import SettingsError, UnauthenticatedError
from outbox.jwks import FLOOR_SECONDS, IssuerAwayError, Jwks, UnreadableJwksError, parse, pick
from outbox.settings import Settings
from outbox.signed_by import Algorithm
from tests.conftest import SECRET
from tests.outbox.issuer import Publisher, Signer, document, publishing, signer

ONE, TWO = signer("one"), signer("two")
ALLOWED: frozenset[Algorithm] = frozenset({"RS256", "ES256", "EdDSA"})


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    async with publishing(ONE) as publisher:
        yield publisher


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jwks(publisher: Publisher, clock: Clock) -> Jwks:
    return Jwks(configured(jwt_jwks_url=publisher.url), clock=clock)


def configured(**more: Any) -> Settings:
    return Settings(DATABASE_URL="postgresql://db/x", REDIS_URL="redis://c", jwt_secret=SECRET, **more)


async def knows(jwks: Jwks, which: Signer) -> bool:
    try:
        await jwks.key(which.kid, "ES256")
    except UnauthenticatedError:
        return False
    return True


async def test_fetched_once_and_kept(jwks: Jwks, publisher: Publisher, clock: Clock) -> None:
    assert [await knows(jwks, ONE) for _ in range(3)] == [True] * 3
    clock.now += 299
    assert await knows(jwks, ONE)
    assert publisher.asked == 1


async def test_many_who_wait_are_one_fetch(jwks: Jwks, publisher: Publisher) -> None:
    publisher.held.clear()
    waiting = [asyncio.create_task(jwks.key("one", "ES256")) for _ in range(50)]
    await publisher.until_asked(1)
    waiting[0].cancel()  # whoever goes away does not take it along
    publisher.held.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each).__name__ for each in done] == ["CancelledError", *["PyJWK"] * 49]
    assert publisher.asked == 1


async def test_an_unknown_key_is_asked_for_but_not_for_every_token(
    jwks: Jwks, publisher: Publisher, clock: Clock
) -> None:
    assert await knows(jwks, ONE)
    publisher.body = document(ONE, TWO)
    clock.now += FLOOR_SECONDS
    assert await knows(jwks, TWO)
    assert publisher.asked == 2
    for number in range(20):
        assert not await knows(jwks, signer(f"unknown {number}"))
    assert publisher.asked == 2
    clock.now += FLOOR_SECONDS
    assert not await knows(jwks, signer("unknown"))
    assert publisher.asked == 3


async def test_old_keys_serve_while_they_are_fetched_anew_and_go_when_they_are_gone(
    jwks: Jwks, publisher: Publisher, clock: Clock
) -> None:
    assert await knows(jwks, ONE)
    publisher.body = document(TWO)
    publisher.held.clear()
    clock.now += 301
    assert await knows(jwks, ONE)  # nobody waits
    await publisher.until_asked(2)
    publisher.held.set()
    assert await knows(jwks, TWO)
    assert not await knows(jwks, ONE)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"keys": []}', b'{"keys": 1}', b"x" * 2_000_000])
async def test_an_issuer_that_fails_locks_nobody_out_until_the_keys_are_too_old(
    jwks: Jwks, publisher: Publisher, clock: Clock, body: bytes
) -> None:
    assert await knows(jwks, ONE)
    good, publisher.body = publisher.body, body
    clock.now += 86_400
    assert await knows(jwks, ONE)
    clock.now += 11
    with pytest.raises(IssuerAwayError):
        await jwks.key("one", "ES256")
    assert REGISTRY.get_sample_value("outbox_jwks_failing") == 1
    publisher.body = good
    clock.now += FLOOR_SECONDS
    assert await knows(jwks, ONE)
    assert REGISTRY.get_sample_value("outbox_jwks_failing") == 0
    assert time() - (REGISTRY.get_sample_value("outbox_jwks_fetched_timestamp_seconds") or 0) < 60


@pytest.mark.parametrize("status", [301, 404, 500])
async def test_only_200_is_an_answer_and_no_redirect_is_followed(
    jwks: Jwks, publisher: Publisher, status: int
) -> None:
    publisher.status = status
    with pytest.raises(IssuerAwayError):
        await jwks.key("one", "ES256")
    with pytest.raises(IssuerAwayError):
        await jwks.key("one", "ES256")
    assert publisher.asked == 1


async def test_an_issuer_that_is_not_there_is_away() -> None:
    with pytest.raises(IssuerAwayError):
        await Jwks(configured(jwt_jwks_url="http://127.0.0.1:9/jwks")).key("one", "ES256")


async def test_from_a_file_and_from_the_setting_itself(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(document(ONE))
    from_file = Jwks(configured(jwt_jwks=str(file)), clock=clock)
    assert await knows(from_file, ONE)
    file.write_bytes(document(TWO))
    clock.now += FLOOR_SECONDS
    assert await knows(from_file, TWO)
    assert await knows(Jwks(configured(jwt_jwks=document(ONE).decode())), ONE)


def test_keys_that_do_not_serve_are_passed_over() -> None:
    odd = [
        {"kty": "oct", "k": "c2VjcmV0"},
        "x",
        {"kty": "EC", "crv": "P-256", "x": "!", "y": "!"},
        {"kty": "LWE"},
        {"kty": ["EC"]},
        {"kty": "RSA", "key_ops": None},
    ]
    text = json.dumps({"keys": [*odd, ONE.jwk()]}).encode()
    assert [key.kid for key in parse(text, ALLOWED)] == ["one"]
    with pytest.raises(UnreadableJwksError):
        parse(json.dumps({"keys": odd}).encode(), ALLOWED)
    with pytest.raises(UnreadableJwksError):
        parse(document(ONE), frozenset({"RS256"}))


def test_of_a_key_that_is_published_whole_the_public_half_counts() -> None:
    """A mistake of the issuer's, and for it to mend; until then its tokens are no bug of ours."""
    rs = signer("rs", "RS256")
    whole = RSAAlgorithm.to_jwk(rs.private, as_dict=True) | {"kid": "rs", "key_ops": ["sign", "verify"]}
    found = pick(parse(json.dumps({"keys": [whole]}).encode(), ALLOWED), "rs", "RS256")
    assert found
    assert jwt.decode(rs.token(), found, ["RS256"], {"verify_aud": False})["sub"] == "u-1"


def test_a_token_without_a_key_id_is_for_the_only_key_there_is() -> None:
    assert pick(parse(document(ONE), ALLOWED), None, "ES256")
    assert pick(parse(document(ONE, TWO), ALLOWED), None, "ES256") is None
    assert pick(parse(document(ONE, signer("r", "RS256")), ALLOWED), None, "ES256")
    assert pick(parse(document(ONE), ALLOWED), None, "RS256") is None


@pytest.mark.parametrize(
    "settings",
    [
        {"jwt_algorithms": "RS256"},
        {"jwt_algorithms": "HS256", "jwt_jwks": "{}"},
        {"jwt_jwks": "{}", "jwt_jwks_url": "https://id.example.com/jwks"},
        {"jwt_algorithms": "none"},
        {"jwt_jwks_url": "ftp://id.example.com/jwks"},
    ],
)
def test_algorithms_and_keys_must_fit(settings: dict[str, str]) -> None:
    with pytest.raises((ValueError, SettingsError)):
        configured(**settings)
