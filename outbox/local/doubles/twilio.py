"""A double of Twilio's Messages resource (https://www.twilio.com/docs/messaging/api/message-resource): takes text
messages, lists them, and reports of them as Twilio does, signed
(https://www.twilio.com/docs/usage/webhooks/webhooks-security).

Numbers that fail are those of Twilio's test credentials (https://www.twilio.com/docs/iam/test-credentials).
"""

import asyncio
import secrets
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit, urlunsplit

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from twilio.request_validator import RequestValidator

from outbox.local.doubles.received import Received
from outbox.local.doubles.serving import Double

API = "/2010-04-01/Accounts/{sid}/Messages.json"
SID, TOKEN = "AC" + "0" * 32, "double"
BODY_CHARACTERS = 1_600
PAGE = 50
REFUSED: Mapping[str, tuple[int, int, str]] = {
    "+15005550001": (400, 21211, "The 'To' number is not a valid phone number."),
    "+15005550002": (400, 21612, "The 'To' number is not currently reachable via SMS."),
    "+15005550003": (403, 21408, "Permission to send an SMS has not been enabled for the region."),
    "+15005550004": (400, 21610, "Attempt to send to unsubscribed recipient."),
    "+15005550009": (400, 21614, "'To' number is not a valid mobile number."),
}


def problem(status: int, code: int, message: str) -> JSONResponse:
    """https://www.twilio.com/docs/usage/twilios-response#errors"""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return JSONResponse({"code": code, "message": message, "more_info": more, "status": status}, status)


@dataclass(slots=True)
class TwilioDouble:
    """`reports`: the statuses that a message goes through by itself, each told to its StatusCallback. `callbacks_at`:
    where that is found from here, as in a network of containers; what is signed is the StatusCallback itself."""

    sid: str = SID
    token: str = TOKEN
    reports: tuple[str, ...] = ("sent", "delivered")
    callbacks_at: str | None = None
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    callbacks: dict[str, str] = field(default_factory=dict)
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(trust_env=False))
    double: Double = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        routes = [
            Route(API, self.create, methods=["POST"]),
            Route(API, self.list, methods=["GET"]),
        ]
        self.double = Double("twilio", routes)

    def known(self, request: Request) -> bool:
        _, _, login = request.headers.get("authorization", "").partition(" ")
        try:
            return b64decode(login).decode() == f"{self.sid}:{self.token}"
        except (NotBase64, UnicodeDecodeError):
            return False

    async def create(self, request: Request) -> Response:
        if not self.known(request):
            return problem(401, 20003, "Authenticate")
        if request.path_params["sid"] != self.sid:
            return problem(404, 20404, "The requested resource was not found")
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        if refused := refusal(form):
            return refused
        message = self.message(form)
        self.messages[message["sid"]] = message
        await self.double.box.add(Received("twilio", message["sid"], form["To"], "", form["Body"], form))
        if callback := form.get("StatusCallback"):
            self.callbacks[message["sid"]] = callback
            task = asyncio.get_running_loop().create_task(self.live(message["sid"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return JSONResponse(message, 201)

    def message(self, form: Mapping[str, str]) -> dict[str, Any]:
        sid, now = "SM" + secrets.token_hex(16), format_datetime(datetime.now(UTC))
        return {
            "account_sid": self.sid,
            "api_version": "2010-04-01",
            "body": form["Body"],
            "date_created": now,
            "date_sent": None,
            "date_updated": now,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "num_media": "0",
            "num_segments": "1",
            "price": None,
            "price_unit": "USD",
            "sid": sid,
            "status": "accepted" if "MessagingServiceSid" in form else "queued",
            "subresource_uris": {},
            "to": form["To"],
            "uri": f"/2010-04-01/Accounts/{self.sid}/Messages/{sid}.json",
        }

    async def list(self, request: Request) -> Response:
        """The newest first, by number and date of sending, in pages."""
        if not self.known(request):
            return problem(401, 20003, "Authenticate")
        to, size = request.query_params.get("To"), int(request.query_params.get("PageSize", PAGE))
        found = [message for message in self.messages.values() if to in {None, message["to"]}]
        return JSONResponse(
            {
                "messages": found[::-1][:size],
                "page": 0,
                "page_size": size,
                "first_page_uri": str(request.url.path),
                "next_page_uri": None,
                "previous_page_uri": None,
                "uri": str(request.url.path),
            }
        )

    async def live(self, sid: str) -> None:
        for status in self.reports:
            await self.report(sid, status)

    async def report(self, sid: str, status: str, error_code: int | None = None) -> int | None:
        """Tell the message's StatusCallback; gives what that answered, or None where nobody did."""
        message = self.messages[sid]
        message |= {"status": status, "error_code": error_code}
        params = {
            "AccountSid": self.sid,
            "ApiVersion": "2010-04-01",
            "From": message["from"] or "",
            "MessageSid": sid,
            "MessageStatus": status,
            "SmsSid": sid,
            "SmsStatus": status,
            "To": message["to"],
        }
        if error_code:
            params["ErrorCode"] = str(error_code)
        return await self.post(self.callbacks[sid], params)

    async def say(self, url: str, number: str, body: str) -> int | None:
        """A recipient writes back: https://www.twilio.com/docs/messaging/guides/webhook-request"""
        params = {
            "AccountSid": self.sid,
            "Body": body,
            "From": number,
            "MessageSid": "SM" + secrets.token_hex(16),
        }
        return await self.post(url, params)

    async def post(self, url: str, params: Mapping[str, str]) -> int | None:
        signature = RequestValidator(self.token).compute_signature(url, params)
        try:
            answer = await self.client.post(
                self.found(url), data=params, headers={"X-Twilio-Signature": signature}
            )
        except httpx.HTTPError:
            return None
        return answer.status_code

    def found(self, url: str) -> str:
        return (
            urljoin(self.callbacks_at, urlunsplit(("", "", *urlsplit(url)[2:]))) if self.callbacks_at else url
        )

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.aclose()


def refusal(form: Mapping[str, str]) -> JSONResponse | None:
    to, body = form.get("To"), form.get("Body", "")
    if not to:
        return problem(400, 21604, "A 'To' phone number is required.")
    if to in REFUSED:
        return problem(*REFUSED[to])
    if not form.get("From") and not form.get("MessagingServiceSid"):
        return problem(400, 21603, "A 'From' phone number is required.")
    if not body:
        return problem(400, 21602, "Message body is required.")
    if len(body) > BODY_CHARACTERS:
        return problem(400, 21617, "The concatenated message body exceeds the 1600 character limit.")
    return None
