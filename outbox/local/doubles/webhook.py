"""Double of somebody's webhook receiver, as Standard Webhooks 1.0.0 asks for one
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, "Verifying signatures",
"Operational considerations"): it checks the signature with the reference library, refuses a timestamp more than five
minutes off, takes a webhook-id once and answers 2xx to repeats. Any path, by POST, PUT or PATCH."""

import base64
import binascii
import json
from collections import Counter
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outbox.local.doubles.received import Received
from outbox.local.doubles.serving import Double

NAME = "webhook"


class Receiver:
    """Takes what is signed with `secret`; without one, whatever comes. `requests` counts them by webhook-id, repeats
    and those that a fault swallowed included as far as they reached it."""

    def __init__(self, secret: str | None = None) -> None:
        self.secret = secret
        self.requests: Counter[str] = Counter()
        self.double = Double(NAME, [Route("/{path:path}", self.take, methods=["POST", "PUT", "PATCH"])])

    async def take(self, request: Request) -> Response:
        body = await request.body()
        identity = request.headers.get("webhook-id", "")
        if (problem := self.refuse(body, request)) is not None:
            return JSONResponse({"error": problem}, 401)
        self.requests[identity] += 1
        if self.requests[identity] == 1:
            await self.double.box.add(received(body, request))
        return Response(status_code=204)

    def refuse(self, body: bytes, request: Request) -> str | None:
        if self.secret is None:
            return None
        try:
            Webhook(self.secret).verify(body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, binascii.Error, ValueError) as error:
            return str(error)
        return None


def received(body: bytes, request: Request) -> Received:
    text = body.decode(errors="replace")
    document = parsed(text)
    fields = document if isinstance(document, dict) else {}
    return Received(
        provider=NAME,
        id=request.headers.get("webhook-id", ""),
        to=str(request.url.path),
        title=str(fields.get("type", "")),
        text=text,
        details={
            "method": request.method,
            "headers": dict(request.headers),
            "json": document,
            "query": str(request.url.query),
        },
    )


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def new_secret(key: bytes) -> str:
    """A secret as the specification writes it, of 24 to 64 bytes."""
    return f"whsec_{base64.b64encode(key).decode()}"
