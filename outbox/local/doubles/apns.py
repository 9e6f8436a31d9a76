"""A double of APNs: HTTP/2 with TLS, token-based authentication.

Follows https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns and
https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns.
Device tokens are hexadecimal and tell by how they begin what is to happen: see `BY_TOKEN`.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outbox.local.doubles.http2 import private
from outbox.local.doubles.received import Received
from outbox.local.doubles.serving import Double

PAYLOAD_BYTES = 4096
TOKEN_SECONDS = 3600
COLLAPSE_BYTES = 64
TYPES = frozenset(
    {"alert", "background", "voip", "location", "complication", "fileprovider", "mdm", "liveactivity"}
)
GONE = "Unregistered"
BY_TOKEN = {
    "dead": (410, GONE),
    "01d0": (410, "ExpiredToken"),
    "bad0": (400, "BadDeviceToken"),
    "f0f0": (400, "DeviceTokenNotForTopic"),
    "00aa": (429, "TooManyRequests"),
    "0b0b": (500, "InternalServerError"),
    "0ff0": (503, "ServiceUnavailable"),
}


@dataclass(frozen=True, slots=True)
class AppleTeam:
    """A team with one app and one key. `key_id` and `team_id` have ten characters, as Apple's have."""

    topic: str = "com.example.outbox"
    key_id: str = "DOUBLE0KEY"
    team_id: str = "DOUBLETEAM"
    key: EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False
    )

    @property
    def p8(self) -> str:
        """The key as Apple gives it out, as APNS_KEY has it."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def write(self, path: Path) -> None:
        private(path, self.p8.encode())


class ApnsDouble:
    """`provider_tokens`: the different ones that were shown. `gone_at`: since when, in Unix milliseconds, the dead
    tokens are; None: since now."""

    def __init__(self, team: AppleTeam | None = None) -> None:
        self.team = team or AppleTeam()
        self.provider_tokens: set[str] = set()
        self.gone_at: int | None = None
        self.double = Double(
            "apns", [Route("/3/device/{token}", self.send, methods=["POST"])], scheme="https"
        )

    async def send(self, request: Request) -> Response:
        identity = request.headers.get("apns-id") or str(uuid4()).upper()
        body = await request.body()
        if refusal := self.refused(request, body):
            return self.said(identity, *refusal)
        await self.take(request, identity, json.loads(body))
        return self.said(identity, 200)

    def refused(self, request: Request, body: bytes) -> tuple[int, str] | None:
        return (
            self.unauthorised(request.headers.get("authorization", ""))
            or odd_headers(request)
            or (None if request.headers.get("apns-topic") == self.team.topic else (400, "TopicDisallowed"))
            or odd_payload(body)
            or next(
                (r for start, r in BY_TOKEN.items() if request.path_params["token"].startswith(start)), None
            )
        )

    def unauthorised(self, authorization: str) -> tuple[int, str] | None:
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token:
            return 403, "MissingProviderToken"
        self.provider_tokens.add(token)
        try:
            claims = jwt.decode(
                token,
                self.team.key.public_key(),
                algorithms=["ES256"],
                issuer=self.team.team_id,
                options={"require": ["iat", "iss"]},
            )
            known = jwt.get_unverified_header(token).get("kid") == self.team.key_id
        except jwt.PyJWTError:
            return 403, "InvalidProviderToken"
        if not known:
            return 403, "InvalidProviderToken"
        return None if time.time() - claims["iat"] <= TOKEN_SECONDS else (403, "ExpiredProviderToken")

    async def take(self, request: Request, identity: str, content: dict[str, Any]) -> None:
        alert = content["aps"].get("alert", {})
        headers = {name: value for name, value in request.headers.items() if name.startswith("apns-")}
        told = {"headers": headers, "payload": content}
        title, text = (
            (alert.get("title", ""), alert.get("body", "")) if isinstance(alert, dict) else ("", alert)
        )
        await self.double.box.add(Received("apns", identity, request.path_params["token"], title, text, told))

    def said(self, identity: str, status: int, reason: str | None = None) -> Response:
        told: dict[str, Any] = {"reason": reason}
        if status == 410:
            told["timestamp"] = int(time.time() * 1000) if self.gone_at is None else self.gone_at
        content = b"" if reason is None else json.dumps(told).encode()
        return Response(content, status, {"apns-id": identity}, "application/json" if reason else None)


def odd_headers(request: Request) -> tuple[int, str] | None:
    headers = request.headers
    if headers.get("apns-push-type") not in TYPES:
        return 400, "InvalidPushType"
    if headers.get("apns-priority", "10") not in {"1", "5", "10"}:
        return 400, "BadPriority"
    if not headers.get("apns-expiration", "0").isdecimal():
        return 400, "BadExpirationDate"
    if len(headers.get("apns-collapse-id", "").encode()) > COLLAPSE_BYTES:
        return 400, "BadCollapseId"
    try:
        UUID(headers.get("apns-id", str(uuid4())))
    except ValueError:
        return 400, "BadMessageId"
    return None


def odd_payload(body: bytes) -> tuple[int, str] | None:
    if len(body) > PAYLOAD_BYTES:
        return 413, "PayloadTooLarge"
    try:
        aps = json.loads(body)["aps"]
    except (ValueError, KeyError, TypeError):
        return 400, "PayloadEmpty"
    return None if isinstance(aps, dict) and aps else (400, "PayloadEmpty")
