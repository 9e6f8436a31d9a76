"""What Twilio tells: the fate of messages (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status),
and what recipients write back. Only what Twilio has signed is believed; of the rest it is not told why it is refused.

Reports come late, twice and in any order: the message's rank only grows, so each is safe to repeat.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import BaseModel, RootModel
from starlette.requests import Request
from starlette.responses import Response
from twilio.request_validator import RequestValidator

from db import delivery, rules, sms
from db.pool import Executor, Pool
from db.sms import LOST, UNSUBSCRIBED, Delivery, Report
from db.suppressions import Suppression, suppress
from outbox.api.contract import Contract, Endpoint
from outbox.api.forms import read_form
from outbox.api.problems import ProblemError
from outbox.errors import SettingsError
from outbox.log import get
from outbox.settings import Settings
from outbox.twilio import CALLBACK, ERRORS, INBOUND, RANKS, START, STOP, Account, Kind, account, told

log = get("api")

ACQUIRE_SECONDS = 5.0
MESSAGE_ID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")
NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
EMPTY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
# From this rank on a message is on its way to the handset.
SENT = RANKS["sent"]


@dataclass(frozen=True, slots=True)
class Heard:
    """A verified request."""

    channel: str
    notification: str
    params: Mapping[str, str]


class About(BaseModel):
    """What the URL says that Twilio was given."""

    channel: str = "sms"
    notification: str = ""


class TwiML(RootModel[str]):
    """An empty answer: Twilio writes back itself."""


FORM = "application/x-www-form-urlencoded"
SIGNATURE = {"X-Twilio-Signature": "HMAC-SHA1 over the URL and the fields, in base64."}
STATUS = Contract(
    *("take_twilio_status", "What became of a message, as Twilio tells it", {204: None}),
    query=About,
    headers=SIGNATURE,
    problems=(400, 403, 413),
    takes=FORM,
)
INCOMING = Contract(
    *("take_twilio_message", "What a recipient writes back, as Twilio tells it", {200: TwiML}),
    query=About,
    headers=SIGNATURE,
    problems=(400, 403, 413),
    takes=FORM,
    gives="text/xml",
)


class TwilioCallbacks:
    """The two routes, and what they share: the settings and the service's pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("POST", CALLBACK, self.status, STATUS),
            Endpoint("POST", INBOUND, self.inbound, INCOMING),
        ]

    async def status(self, request: Request) -> Response:
        """What has become of a message."""
        heard = await self.verified(request)
        if report := read_report(heard):
            number = heard.params.get("To", "")
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
                await take(conn, report, error_code(heard.params), number)
        return Response(status_code=204)

    async def inbound(self, request: Request) -> Response:
        """STOP and START. Twilio answers the recipient itself, so the answer is empty TwiML."""
        heard = await self.verified(request)
        number, word = heard.params.get("From", ""), heard.params.get("Body", "").strip().upper()
        if NUMBER.fullmatch(number):
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
                if word in STOP:
                    await suppress(
                        conn, [Suppression(heard.channel, number, f"{UNSUBSCRIBED}: STOP by the recipient")]
                    )
                elif word in START:
                    await sms.welcome_number(conn, heard.channel, number)
        return Response(EMPTY, media_type="text/xml")

    async def verified(self, request: Request) -> Heard:
        """Raises ProblemError, 403, for whatever no account of the channel has signed."""
        signature = request.headers.get("x-twilio-signature", "")
        params = await read_form(request)
        channel = request.query_params.get("channel", "sms")
        if signature and signature.isascii():
            url = seen_by_twilio(self.settings.public_api_url, request)
            for each in await self.accounts(channel):
                if RequestValidator(each.token).validate(url, params, signature):
                    return Heard(channel, request.query_params.get("notification", ""), params)
        raise ProblemError(403, "forbidden", "The request is not signed by Twilio.")

    async def accounts(self, channel: str) -> Sequence[Account]:
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            found = await delivery.channel_config(conn, channel) if channel.isprintable() else None
        parts = found[1].get("providers") if found else None
        accounts = []
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict) and part.get("type") == "twilio":
                try:
                    accounts.append(account(str(part.get("name", "twilio")), part))
                except SettingsError as error:
                    log.warning("api.callback_unverifiable", channel=channel, error=str(error))
        return accounts


def seen_by_twilio(api: str, request: Request) -> str:
    """The URL that was given to Twilio: behind a proxy the request's own is another."""
    query = request.url.query
    return f"{api}{request.url.path}" + (f"?{query}" if query else "")


def error_code(params: Mapping[str, str]) -> int | None:
    code = params.get("ErrorCode", "")
    return int(code) if code.isdecimal() and len(code) < 7 else None


def read_report(heard: Heard) -> Report | None:
    """None: nothing that concerns us."""
    message_id, status = heard.params.get("MessageSid", ""), heard.params.get("MessageStatus", "")
    try:
        notification_id = UUID(heard.notification)
    except ValueError:
        return None
    if status not in RANKS or not MESSAGE_ID.fullmatch(message_id):
        return None
    code = error_code(heard.params)
    reason = told(code) if code else f"Twilio says {status}" if status in LOST else None
    return Report(notification_id, heard.channel, message_id, status, RANKS[status], reason)


async def take(conn: Executor, report: Report, code: int | None, number: str) -> None:
    """In one transaction, which begins with the delivery's lock."""
    found = await sms.lock_delivery(conn, report.notification_id, report.channel)
    if found is None or not await sms.report(conn, report):
        return
    resolved = report.status not in LOST and await sms.resolve(conn, report)
    if resolved:
        await rules.finish_digests(conn, report.channel, [report.notification_id])
    if report.status in LOST:
        await sms.fail_undelivered(conn, report.channel, [report.notification_id])
        if (reason := suppression(code)) and NUMBER.fullmatch(number):
            await suppress(conn, [Suppression(report.channel, number, reason)])
    if resolved or report.rank >= SENT:
        await sms.tell(conn, report, event(report), found.attempts, detail(report, found, code))


def suppression(code: int | None) -> str | None:
    """Why the number must not be written to again; None where it may be fine."""
    match ERRORS.get(code or 0):
        case (Kind.GONE, _):
            return told(code or 0)
        case (Kind.UNSUBSCRIBED, _):
            return f"{UNSUBSCRIBED}: {told(code or 0)}"
    return None


def event(report: Report) -> str:
    """As the timeline calls it. `accepted` only stands there where it settles a doubt."""
    if report.status in LOST:
        return "undelivered"
    if report.rank < SENT:
        return "accepted"
    return "sent" if report.rank == SENT else "delivered"


def detail(report: Report, found: Delivery, code: int | None) -> Mapping[str, str | int]:
    facts = {
        "by": "callback",
        "provider": found.provider,
        "provider_message_id": report.message_id,
        "error_code": code,
        "reason": report.reason,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}
