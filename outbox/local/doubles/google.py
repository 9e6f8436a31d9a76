"""The part of Google that gives out access tokens, and a service account to ask for them with.

https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import parse_qsl
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from outbox.local.doubles.http2 import private

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Of a project that nobody else has."""

    project: str = "outbox-double"
    key: RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048), repr=False)

    @property
    def email(self) -> str:
        return f"sender@{self.project}.iam.gserviceaccount.com"

    def document(self, url: str) -> str:
        """As Google's console gives it out; its token_uri leads to the double at `url`."""
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return json.dumps(
            {
                "type": "service_account",
                "project_id": self.project,
                "private_key_id": uuid4().hex,
                "private_key": pem,
                "client_email": self.email,
                "client_id": "1",
                "token_uri": f"{url}/token",
            }
        )

    def write(self, path: Path, url: str) -> None:
        private(path, self.document(url).encode())


@dataclass(slots=True)
class Tokens:
    """Those that were given out, and until when they hold (Unix seconds). `given` counts them."""

    account: ServiceAccount
    lifetime: float = LIFETIME_SECONDS
    given: int = 0
    _valid: dict[str, float] = field(default_factory=dict)

    async def grant(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        try:
            if form.get("grant_type") != GRANT:
                return refusal("unsupported_grant_type", "Invalid grant_type")
            jwt.decode(
                form["assertion"],
                self.account.key.public_key(),
                algorithms=["RS256"],
                issuer=self.account.email,
                options={"verify_aud": False, "require": ["exp", "iat", "aud"]},
            )
        except (jwt.PyJWTError, KeyError):
            return refusal("invalid_grant", "Invalid JWT Signature.")
        self.given += 1
        token = token_urlsafe(24)
        self._valid[token] = time.time() + self.lifetime
        answer = {"access_token": token, "expires_in": int(self.lifetime), "token_type": "Bearer"}
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    def holds(self, request: Request) -> bool:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._valid.get(token, 0.0) > time.time()

    def revoke(self) -> None:
        self._valid.clear()


def refusal(error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, 400)
