"""Which key serves for which algorithm: a public key never for a shared one, and none for what it is not meant for."""

from typing import Any

import pytest

from outbox.signed_by import ASYMMETRIC, BY_RSA, SHARED, serves

RSA, P256 = {"kty": "RSA", "n": "x", "e": "AQAB"}, {"kty": "EC", "crv": "P-256"}


@pytest.mark.parametrize(
    ("jwk", "expected"),
    [
        (RSA, set(BY_RSA)),
        (RSA | {"alg": "PS256"}, {"PS256"}),
        (P256, {"ES256"}),
        ({"kty": "OKP", "crv": "Ed25519"}, {"EdDSA"}),
        (P256 | {"use": "sig", "key_ops": ["verify"]}, {"ES256"}),
        (P256 | {"use": "enc"}, set()),
        (P256 | {"key_ops": ["sign"]}, set()),
        (P256 | {"alg": "RS256"}, set()),
        (RSA | {"alg": "HS256"}, set()),
        ({"kty": "oct", "k": "c2VjcmV0"}, set()),
        ({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, set()),
        ({"kty": "EC", "crv": "secp256k1"}, set()),
        ({"kty": "OKP", "crv": "X25519"}, set()),
        ({}, set()),
        ({"kty": []}, set()),
        ({"kty": "EC", "crv": ["P-256"]}, set()),
        (P256 | {"key_ops": None}, set()),
        (P256 | {"key_ops": 7}, set()),
        (P256 | {"key_ops": "verify"}, set()),
    ],
)
def test_a_key_serves_for_what_it_is_meant(jwk: dict[str, Any], expected: set[str]) -> None:
    assert serves(jwk) == expected


def test_what_is_shared_is_not_public() -> None:
    assert SHARED not in ASYMMETRIC
