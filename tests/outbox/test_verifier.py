"""Tokens of other issuers: each algorithm by its own keys, nothing by the token's own word."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from outbox.errors import UnauthenticatedError
from outbox.jwks import Jwks
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from outbox.verifier import Verifier
from tests.conftest import SECRET
from tests.outbox.issuer import AUDIENCE, CLAIMS, ISSUER, Signer, document, rsa_key, signer

ES, ED, RS = signer("es"), signer("ed", "EdDSA"), signer("rs", "RS256")


def settings(**more: Any) -> Settings:
    given = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_jwks": document(ES, ED, RS).decode()} | more
    return Settings(DATABASE_URL="postgresql://db/x", REDIS_URL="redis://c", jwt_secret=SECRET, **given)


@pytest.mark.parametrize("which", [ES, ED, RS], ids=lambda each: each.algorithm)
async def test_each_algorithm_proves_who_and_what(which: Signer) -> None:
    identity = await Verifier(settings()).verify(which.token(sub="ann", scope="user producer"))
    assert (identity.subject, sorted(identity.scopes)) == ("ann", ["producer", "user"])


def forged(header: dict[str, Any], claims: dict[str, Any], key: bytes = b"") -> str:
    """What no library would sign: the header says what it likes."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    body = b".".join(parts)
    signed = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(body, key) if key else b""
    return (body + b"." + base64.urlsafe_b64encode(signed).rstrip(b"=")).decode()


def lasting() -> dict[str, Any]:
    return CLAIMS | {"exp": int((datetime.now(UTC) + timedelta(minutes=5)).timestamp())}


def public_pem() -> bytes:
    pem: bytes = RS.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def tokens_that_do_not_hold() -> dict[str, str]:
    return {
        "nothing signed": forged({"alg": "none"}, lasting()),
        "nothing signed, in capitals": forged({"alg": "NONE", "kid": "rs"}, lasting()),
        "the public key as a secret": forged({"alg": "HS256", "kid": "rs"}, lasting(), public_pem()),
        "the shared secret, where it is not allowed": forged({"alg": "HS256"}, lasting(), SECRET.encode()),
        "another algorithm of the same key": Signer("rs", "RS384", RS.private).token(),
        "a key of another kind": Signer("rs", "ES256", ES.private).token(),
        "another key under a known id": Signer("es", "ES256", signer().private).token(),
        "a short key": Signer("short", "RS256", rsa_key(1024)).token(),
        "its own key": jwt.encode(
            lasting(), ES.private, "ES256", {"kid": "mine", "jwk": ES.jwk(), "jku": "http://127.0.0.1:9/"}
        ),
        "what is not understood, marked critical": jwt.encode(
            lasting(), ES.private, "ES256", {"kid": "es", "crit": ["x"], "x": 1}
        ),
        "another audience": ES.token(aud="other"),
        "another issuer": ES.token(iss="https://id.example.co"),
        "a longer issuer": ES.token(iss=ISSUER + "/evil"),
        "expired": ES.token(exp=datetime.now(UTC) - timedelta(minutes=1)),
        "not yet": ES.token(nbf=datetime.now(UTC) + timedelta(minutes=5)),
        "no end": ES.token(exp=None),
        "an odd end": ES.token(exp=10**18),
        "no subject": ES.token(sub=None),
        "too long": ES.token(x="x" * 20_000),
        "no token": "a.b.c",
        "odd text": "\ud800.é.c",
        "a list for a header": base64.urlsafe_b64encode(b"[]").decode() + ".e30.x",
        "an odd key id": forged({"alg": "ES256", "kid": ["es"]}, lasting(), b"k"),
    }


@pytest.mark.parametrize("what", list(tokens_that_do_not_hold()))
async def test_what_does_not_hold_is_refused_each_time(what: str) -> None:
    text = document(ES, ED, RS, Signer("short", "RS256", rsa_key(1024))).decode()
    verifier, token = Verifier(settings(jwt_jwks=text)), tokens_that_do_not_hold()[what]
    for _ in range(2):
        with pytest.raises(UnauthenticatedError) as caught:
            await verifier.verify(token)
        assert token not in str(caught.value)


async def test_the_secret_serves_beside_a_jwks_where_it_is_named() -> None:
    both = settings(jwt_algorithms="HS256,ES256")
    verifier = Verifier(both)
    assert (await verifier.verify(issue(both, "ann", Scope.ADMIN, timedelta(minutes=1)))).subject == "ann"
    assert (await verifier.verify(ES.token())).subject == "u-1"
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(ED.token())
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(forged({"alg": "HS256", "kid": "rs"}, lasting(), public_pem()))


@pytest.mark.parametrize(
    ("given", "claims", "expected"),
    [
        ({}, {"scope": "user other"}, {"user", "other"}),
        ({}, {"scope": None, "scp": ["producer", 1]}, {"producer", "1"}),
        ({}, {"scope": None, "scp": "producer user"}, {"producer", "user"}),
        ({}, {"scope": {"odd": 1}}, set()),
        ({"jwt_scope_claim": "permissions"}, {"permissions": ["admin"]}, {"admin"}),
        ({"jwt_scope_claim": "permissions"}, {"scope": "admin"}, set()),
        ({"jwt_scope_prefix": "outbox:"}, {"scope": "outbox:user admin"}, {"user"}),
        ({"jwt_default_scope": "user"}, {"scope": "openid email"}, {"user"}),
        ({"jwt_default_scope": "user"}, {"scope": "producer"}, {"producer"}),
    ],
)
async def test_scopes_stand_where_the_settings_say(
    given: dict[str, str], claims: dict[str, Any], expected: set[str]
) -> None:
    identity = await Verifier(settings(**given)).verify(ES.token(**claims))
    assert identity.scopes == expected


async def test_leeway_is_what_the_settings_say() -> None:
    token = ES.token(exp=datetime.now(UTC) - timedelta(seconds=30))
    assert (await Verifier(settings(jwt_leeway=60)).verify(token)).subject == "u-1"
    with pytest.raises(UnauthenticatedError):
        await Verifier(settings(jwt_leeway=0)).verify(token)


async def test_what_was_verified_is_remembered_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC).timestamp()
    asked = []

    class Counting(Jwks):
        async def key(self, kid: str | None, algorithm: Any) -> jwt.PyJWK:
            asked.append(kid)
            return await super().key(kid, algorithm)

    verifier = Verifier(settings(), Counting(settings()))
    token, short = ES.token(), ES.token(exp=int(now) + 20)
    for seconds in (0, 1, 19):
        monkeypatch.setattr("outbox.verifier.time.time", lambda ahead=seconds: now + ahead)
        await verifier.verify(token)
        await verifier.verify(short)
    assert len(asked) == 2
    monkeypatch.setattr("outbox.verifier.time.time", lambda: now + 61)
    await verifier.verify(token)
    assert len(asked) == 3
