"""A double of FCM, HTTP v1, with Google's token endpoint.

Follows https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send,
https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode and google.rpc.Status.
Tokens tell by how they begin what is to happen: see `BY_TOKEN`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outbox.local.doubles.google import ServiceAccount, Tokens
from outbox.local.doubles.received import Received
from outbox.local.doubles.serving import Double

PAYLOAD_BYTES = 4096
ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
RESERVED = frozenset({"from", "message_type", "notification"})
RESERVED_PREFIXES = ("google", "gcm")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as FCM says it. `named`: the field that google.rpc.BadRequest names."""

    status: int
    name: str
    message: str
    code: str | None = None
    named: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        details: list[dict[str, Any]] = []
        if self.code:
            details.append({"@type": ERROR, "errorCode": self.code})
        if self.named:
            violation = {"field": self.named, "description": self.message}
            details.append({"@type": BAD_REQUEST, "fieldViolations": [violation]})
        error = {"code": self.status, "message": self.message, "status": self.name}
        return {"error": error | ({"details": details} if details else {})}

    def response(self) -> Response:
        return JSONResponse(self.body(), self.status, dict(self.headers))


def bad_request(message: str, name: str) -> Refusal:
    return Refusal(400, "INVALID_ARGUMENT", message, "INVALID_ARGUMENT", name)


UNAUTHENTICATED = Refusal(
    401,
    "UNAUTHENTICATED",
    "Request had invalid authentication credentials. Expected OAuth 2 access token.",
)
BY_TOKEN = {
    "gone": Refusal(404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED"),
    "stranger": Refusal(403, "PERMISSION_DENIED", "SenderId mismatch", "SENDER_ID_MISMATCH"),
    "invalid": Refusal(
        400,
        "INVALID_ARGUMENT",
        "The registration token is not a valid FCM registration token",
        "INVALID_ARGUMENT",
    ),
    "odd": bad_request("Invalid value at 'message.token' (TYPE_STRING)", "message.token"),
    "quota": Refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric.", "QUOTA_EXCEEDED"),
    "apple": Refusal(401, "UNAUTHENTICATED", "Auth error from APNS or Web Push", "THIRD_PARTY_AUTH_ERROR"),
    "broken": Refusal(500, "INTERNAL", "Internal error encountered.", "INTERNAL"),
    "busy": Refusal(
        503,
        "UNAVAILABLE",
        "The service is currently unavailable.",
        "UNAVAILABLE",
        headers={"Retry-After": "30"},
    ),
}


class FcmDouble:
    """`tokens` counts what was given out, and can revoke it."""

    def __init__(self, account: ServiceAccount | None = None) -> None:
        self.account = account or ServiceAccount()
        self.tokens = Tokens(self.account)
        path = f"/v1/projects/{self.account.project}/messages:send"
        routes = [
            Route("/token", self.tokens.grant, methods=["POST"]),
            Route(path, self.send, methods=["POST"]),
        ]
        self.double = Double("fcm", routes, scheme="https")

    @property
    def credentials(self) -> str:
        """The service account's key, as FCM_CREDENTIALS has it."""
        return self.account.document(self.double.url)

    async def send(self, request: Request) -> Response:
        if not self.tokens.holds(request):
            return UNAUTHENTICATED.response()
        try:
            message = json.loads(await request.body())["message"]
        except (ValueError, KeyError, TypeError):
            return bad_request("Invalid JSON payload received.", "message").response()
        if refusal := refused(message):
            return refusal.response()
        return await self.take(message)

    async def take(self, message: dict[str, Any]) -> Response:
        name = f"projects/{self.account.project}/messages/0:{uuid4().int % 10**16}"
        shown = message.get("notification", {})
        taken = Received(
            "fcm", name, message["token"], shown.get("title", ""), shown.get("body", ""), message
        )
        await self.double.box.add(taken)
        return JSONResponse({"name": name})


def refused(message: dict[str, Any]) -> Refusal | None:
    token = message.get("token")
    if not isinstance(token, str) or not token:
        return bad_request("Recipient of the message is not set.", "message.token")
    for key, value in (message.get("data") or {}).items():
        if not isinstance(value, str):
            return bad_request(f"Invalid value at 'message.data[0].value' ({key})", "message.data[0].value")
        if key in RESERVED or key.startswith(RESERVED_PREFIXES):
            return bad_request(f"Invalid data payload key: {key}", "message.data")
    ttl = (message.get("android") or {}).get("ttl", "0s")
    if not ttl.endswith("s") or not 0 <= float(ttl[:-1]) <= 2_419_200:
        return bad_request("Invalid value at 'message.android.ttl'", "message.android.ttl")
    told = {key: value for key, value in message.items() if key in ("notification", "data")}
    if len(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()) > PAYLOAD_BYTES:
        return bad_request("Message is too big", "message")
    return next((refusal for start, refusal in BY_TOKEN.items() if token.startswith(start)), None)
