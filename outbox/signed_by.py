"""By which algorithms a token may be signed (RFC 7518 §3.1, RFC 8037), and which keys serve for which. Pure.

A secret serves HS256 and nothing else, a public key never HS256: what is public must not become a secret because a
token's header says so (CVE-2022-29217). `none` is not among them.
"""

from collections.abc import Mapping
from typing import Any, Literal

Algorithm = Literal[
    "HS256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
SHARED: Literal["HS256"] = "HS256"
BY_RSA: frozenset[Algorithm] = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
BY_CURVE: Mapping[str, Algorithm] = {
    "P-256": "ES256",
    "P-384": "ES384",
    "P-521": "ES512",
    "Ed25519": "EdDSA",
}
ASYMMETRIC: frozenset[Algorithm] = BY_RSA | frozenset(BY_CURVE.values())
CURVED = ("EC", "OKP")  # no set: what a key says it is may be no text


def serves(jwk: Mapping[str, Any]) -> frozenset[Algorithm]:
    """What this key of a JWKS (RFC 7517 §4) may check signatures of. Empty: it is for something else."""
    kind, meant = jwk.get("kty"), jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(meant, list) or "verify" not in meant:
        return frozenset()
    fitting: frozenset[Algorithm] = frozenset()
    if kind == "RSA":
        fitting = BY_RSA
    elif kind in CURVED and (one := BY_CURVE.get(str(jwk.get("crv")))):
        fitting = frozenset({one})
    named = jwk.get("alg")
    return fitting if named is None else frozenset(each for each in fitting if each == named)
