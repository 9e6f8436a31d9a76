"""Whoever issues tokens, as Outbox meets them: key pairs, tokens signed with them, and a small server on loopback that
publishes the public halves."""

import asyncio
import json
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE, ISSUER = "outbox", "https://id.example.com"
CLAIMS = {"sub": "u-1", "scope": "user", "aud": AUDIENCE, "iss": ISSUER}


@cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """Made once a run: it takes its time. `number` tells several apart."""
    return rsa.generate_private_key(65537, bits)


@dataclass(frozen=True, slots=True)
class Signer:
    """One key pair."""

    kid: str | None
    algorithm: str
    private: Any
    marks: dict[str, Any] = field(default_factory=dict)  # what else its JWK says

    def jwk(self) -> dict[str, Any]:
        writers: dict[str, Any] = {
            "RS": RSAAlgorithm,
            "PS": RSAAlgorithm,
            "ES": ECAlgorithm,
            "Ed": OKPAlgorithm,
        }
        public: dict[str, Any] = writers[self.algorithm[:2]].to_jwk(self.private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        return public | ({"kid": self.kid} if self.kid else {}) | self.marks

    def token(self, **claims: Any) -> str:
        ends = {"exp": datetime.now(UTC) + timedelta(minutes=5)}
        headers = {"kid": self.kid} if self.kid else None
        said = {name: value for name, value in {**CLAIMS, **ends, **claims}.items() if value is not None}
        with warnings.catch_warnings(action="ignore", category=jwt.InsecureKeyLengthWarning):  # meant, here
            return jwt.encode(said, self.private, self.algorithm, headers)


def signer(kid: str | None = "one", algorithm: str = "ES256", **marks: Any) -> Signer:
    if algorithm.startswith("ES"):
        return Signer(kid, algorithm, ec.generate_private_key(ec.SECP256R1()), marks)
    if algorithm == "EdDSA":
        return Signer(kid, algorithm, ed25519.Ed25519PrivateKey.generate(), marks)
    return Signer(kid, algorithm, rsa_key(), marks)


def document(*signers: Signer) -> bytes:
    return json.dumps({"keys": [each.jwk() for each in signers]}).encode()


class Publisher:
    """Says what `body` holds, after what `held` waits for."""

    def __init__(self, *signers: Signer) -> None:
        self.body, self.status, self.asked = document(*signers), 200, 0
        self.url = ""
        self.arrived = asyncio.Condition()
        self.held = asyncio.Event()
        self.held.set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        async with self.arrived:
            self.asked += 1
            self.arrived.notify_all()
        await self.held.wait()
        head = f"HTTP/1.1 {self.status} x\r\nLocation: {self.url}\r\nContent-Length: {len(self.body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + self.body)
        await writer.drain()
        writer.close()

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(60), self.arrived:
            await self.arrived.wait_for(lambda: self.asked >= times)


@asynccontextmanager
async def publishing(*signers: Signer) -> AsyncIterator[Publisher]:
    publisher = Publisher(*signers)
    server = await asyncio.start_server(publisher.answer, "127.0.0.1", 0)
    publisher.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
    async with server:
        yield publisher
