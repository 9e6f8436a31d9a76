"""SendGrid's double: POST /v3/mail/send as twilio.com/docs/sendgrid/api-reference/mail-send and its page of errors have
it – a request is taken whole (202, X-Message-Id) or refused whole, with the field that is to blame."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outbox.local.doubles.received import Received
from outbox.local.doubles.serving import Double

NAME = "sendgrid"
KEY = "SG.double"  # the key it takes
MOST = 1_000
REQUEST_BYTES = 30 * 1024 * 1024
SUBSTITUTION_BYTES = CUSTOM_BYTES = 10_000
ADDRESS = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
RESERVED = frozenset(
    {
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
    }
    | {"subject", "reply-to", "cc", "bcc"}
)
HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
NOT_AUTHORIZED = "The provided authorization grant is invalid, expired, or revoked"
NO_ADDRESS = "Does not contain a valid address."

Errors = list[tuple[str | None, str]]


@dataclass(slots=True)
class SendGridDouble:
    """`requests`: how many it took, so that they can be set against the messages in the box."""

    key: str = KEY
    requests: int = 0
    double: Double = field(init=False)

    def __post_init__(self) -> None:
        self.double = Double(NAME, [Route("/v3/mail/send", self.send, methods=["POST"])])

    async def send(self, request: Request) -> Response:
        body = await request.body()
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return refused(401, [(None, NOT_AUTHORIZED)])
        if len(body) > REQUEST_BYTES:
            return refused(413, [(None, "Payload too large")])
        try:
            mail = json.loads(body)
        except ValueError:
            return refused(400, [(None, "Bad Request")])
        if errors := check(mail):
            return refused(400, errors)
        self.requests += 1
        message_id = uuid4().hex[:22]
        for at, part in enumerate(mail["personalizations"]):
            await self.double.box.add(received(mail, part, f"{message_id}.{at}"))
        return Response(status_code=202, headers={"X-Message-Id": message_id})


def refused(status: int, errors: Errors) -> Response:
    listed = [{"message": message, "field": where, "help": HELP} for where, message in errors]
    return JSONResponse({"errors": listed}, status)


def check(mail: Any) -> Errors:
    """Every rule that is broken; all of them are told at once."""
    if not isinstance(mail, dict):
        return [(None, "Bad Request")]
    parts = mail.get("personalizations")
    if not isinstance(parts, list) or not parts:
        return [
            (
                "personalizations",
                "The personalizations field is required and must have at least one personalization.",
            )
        ]
    errors: Errors = []
    if len(parts) > MOST:
        errors.append(
            ("personalizations", f"The personalization block is limited to {MOST} personalizations.")
        )
    if not ADDRESS.fullmatch(str((mail.get("from") or {}).get("email", ""))):
        errors.append(("from.email", "The from email does not contain a valid address."))
    for at, part in enumerate(parts):
        errors += check_personalization(f"personalizations.{at}", part, mail)
    addresses = [to["email"].lower() for part in parts for to in part.get("to", [])]
    if len(set(addresses)) < len(addresses):
        errors.append(
            (
                "personalizations",
                "Each unique email address in the personalizations array should only be included once.",
            )
        )
    return errors + check_content(mail.get("content"))


def check_personalization(where: str, part: Mapping[str, Any], mail: Mapping[str, Any]) -> Errors:
    errors: Errors = [
        (f"{where}.to.{at}.email", NO_ADDRESS)
        for at, to in enumerate(part.get("to", []))
        if not ADDRESS.fullmatch(to.get("email", ""))
    ]
    if not part.get("to"):
        errors.append((f"{where}.to", "The to array is required for all personalization objects."))
    if not (part.get("subject") or mail.get("subject")):
        errors.append((f"{where}.subject", "The subject is required."))
    for name, limit in (("substitutions", SUBSTITUTION_BYTES), ("custom_args", CUSTOM_BYTES)):
        if size(part.get(name, {})) > limit:
            errors.append((f"{where}.{name}", f"The {name} may not exceed {limit} bytes."))
    errors += [
        (f"{where}.headers.{name}", "This header is reserved.")
        for name in part.get("headers", {})
        if name.lower() in RESERVED
    ]
    return errors


def size(pairs: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in pairs.items())


def check_content(content: Any) -> Errors:
    if not isinstance(content, list) or not content:
        return [("content", "The content field is required.")]
    types = [part["type"] for part in content]
    if types != sorted(types, key=["text/plain", "text/html"].index):
        return [("content", "If present, text/plain and text/html may only be provided in that order.")]
    return [
        (f"content.{at}.value", "The content value must be a string at least one character in length.")
        for at, part in enumerate(content)
        if not part["value"]
    ]


def received(mail: Mapping[str, Any], part: Mapping[str, Any], message_id: str) -> Received:
    """One recipient's mail, as it would arrive."""
    replacing = part.get("substitutions", {})
    content = {each["type"]: substitute(each["value"], replacing) for each in mail["content"]}
    return Received(
        provider=NAME,
        id=message_id,
        to=part["to"][0]["email"],
        title=substitute(part.get("subject") or mail["subject"], replacing),
        text=content.get("text/plain", ""),
        details={
            "from": mail["from"],
            "html": content.get("text/html", ""),
            "headers": part.get("headers", {}),
            "custom_args": part.get("custom_args", {}),
            "batch": len(mail["personalizations"]),
        },
    )


def substitute(text: str, pairs: Mapping[str, str]) -> str:
    for tag, value in pairs.items():
        text = text.replace(tag, value)
    return text
