"""Twilio as a provider (https://www.twilio.com/docs/messaging/api/message-resource), by its own client library.

Twilio takes no idempotency key, so whether a request left is known to the letter: httpx says when its body begins.
From then on silence means that the message may be on its way; Twilio can be asked about it (`ask`).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from db.sms import UNSUBSCRIBED
from outbox.twilio import ERRORS, Account, Kind, told
from workers import http_exchange
from workers.answer_body import beginning
from workers.outcome import Delivered, Outcome, Permanent, RecipientGone, Throttled, Transient, Unknown

# It logs whole requests, numbers and texts in them.
SILENT = logging.getLogger("workers.twilio.silent")
SILENT.disabled = True
CONNECTIONS = 100
MOST_BYTES = 1024 * 1024  # a list of messages is longer than other answers
UNREACHED = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, TimeoutError)
UNREADABLE = (ValueError, TypeError, AttributeError, KeyError)
LISTED = 100
SKEW = timedelta(minutes=5)  # between Twilio's clock and ours
LOST = frozenset({"failed", "undelivered", "canceled"})


@dataclass(frozen=True, slots=True)
class Text:
    """One message. `valid_seconds`: how long it may wait at the provider; `callback`: where its fate is reported."""

    notification_id: UUID
    to: str
    body: str
    segments: int
    callback: str
    valid_seconds: int | None = None


@dataclass(slots=True)
class Flight(http_exchange.Progress):
    """One request: whether it left, and what headers came back."""

    headers: Mapping[str, str] = field(default_factory=dict)


FLIGHT: ContextVar[Flight] = ContextVar("flight")


class Http(AsyncHttpClient):  # type: ignore[misc]  # ships no types
    """What the library sends with. Not its own client, which is aiohttp: under uvloop, connections that aiohttp gives
    up by the dozen end in an abort of the whole process (libuv#5130)."""

    def __init__(self, seconds: float) -> None:
        super().__init__(SILENT, is_async=True, timeout=seconds)
        self._client = http_exchange.client({}, CONNECTIONS)

    async def request(self, method: str, url: str, *, auth: tuple[str, str], **options: Any) -> Response:
        """`options`: params, data, headers, and others that are decided here."""
        flight = FLIGHT.get()
        said: dict[str, Any] = {name: options.get(name) for name in ("params", "data", "headers")}
        timeout = http_exchange.connecting(self.timeout)
        extensions = {"trace": flight.note}
        async with (
            asyncio.timeout(self.timeout),
            self._client.stream(
                method, url, auth=auth, timeout=timeout, extensions=extensions, **said
            ) as response,
        ):
            body = await beginning(response.aiter_raw(), MOST_BYTES)
        flight.headers = response.headers
        return Response(response.status_code, body.decode(errors="replace"), response.headers)

    async def close(self) -> None:
        await self._client.aclose()


class Twilio:
    """One account."""

    def __init__(self, account: Account, seconds: float) -> None:
        self.name = account.name
        self._account = account
        self._http = Http(seconds)
        self._client = Client(account.sid, account.token, http_client=self._http)
        self._client.api.base_url = account.url

    async def send(self, text: Text) -> Outcome:
        flight = Flight()
        before = FLIGHT.set(flight)
        try:
            sent = await self._client.messages.create_async(**self._fields(text))
        except (TwilioRestException, TwilioServiceException) as error:
            return answered(error.status, error.code, flight.headers)
        except UNREACHED as error:
            return unanswered(error, flight)
        except UNREADABLE as error:
            return unreadable(error, flight)
        finally:
            FLIGHT.reset(before)
        if not isinstance(sent.sid, str):
            return Unknown("Twilio's answer names no message")
        return Delivered(sent.sid, segments=text.segments)

    def _fields(self, text: Text) -> dict[str, Any]:
        fields: dict[str, Any] = {"to": text.to, "body": text.body, "status_callback": text.callback}
        if self._account.service:
            fields["messaging_service_sid"] = self._account.service
        else:
            fields["from_"] = self._account.sender
        if text.valid_seconds is not None:
            fields["validity_period"] = text.valid_seconds
        return fields

    async def ask(self, text: Text, since: datetime) -> Sequence[str] | Transient:
        """The messages of the same text to the same number, made since then and not lost, the newest first. Not by
        the date of sending, which a message in the queue does not have yet."""
        before = FLIGHT.set(Flight())
        try:
            listed = await self._client.messages.list_async(to=text.to, limit=LISTED, page_size=LISTED)
        except (TwilioException, *UNREACHED, *UNREADABLE) as error:
            return Transient(
                "ask", f"Twilio does not tell whether it has the message: {type(error).__name__}"
            )
        finally:
            FLIGHT.reset(before)
        return [
            message.sid
            for message in listed
            if message.body == text.body
            and message.status not in LOST
            and message.date_created is not None
            and message.date_created >= since - SKEW
        ]

    async def close(self) -> None:
        await self._http.close()


def answered(status: int, code: int, headers: Mapping[str, str]) -> Outcome:
    """By Twilio's code where it is known, else by the status of HTTP."""
    kind = ERRORS[code][0] if code in ERRORS else by_status(status)
    reason = f"{status}: {told(code)}" if code != status else f"{status} without a code of Twilio's"
    wait = seconds(headers.get("Retry-After"))
    outcomes: dict[Kind | None, Outcome] = {
        Kind.GONE: RecipientGone(reason),
        Kind.UNSUBSCRIBED: RecipientGone(f"{UNSUBSCRIBED}: {reason}"),
        Kind.ROUTE: Permanent("route", reason),
        Kind.AUTH: Transient("auth", reason),
        Kind.CONFIG: Transient("config_refused", reason),
        Kind.THROTTLED: Throttled(reason, wait),
        Kind.TRANSIENT: Transient("http_5xx", reason, wait),
        None: Unknown(f"a gateway before Twilio gave up waiting for its answer ({status})"),
    }
    return outcomes.get(kind, Permanent("refused", reason))


def by_status(status: int) -> Kind | None:
    """None: nobody knows."""
    if status == 504:
        return None
    if status in {401, 403}:
        return Kind.AUTH
    if status == 429:
        return Kind.THROTTLED
    if status < 400 or status == 404:
        return Kind.CONFIG  # whatever answers there is not Twilio's API
    return Kind.TRANSIENT if status >= 500 else Kind.BODY


def seconds(text: str | None) -> float | None:
    """Retry-After in seconds; a date is not what Twilio sends."""
    return float(text) if text and text.isdecimal() and len(text) < 10 else None


def unanswered(error: Exception, flight: Flight) -> Outcome:
    if flight.left:
        return Unknown(f"Twilio fell silent after the request was sent: {type(error).__name__}")
    if isinstance(error, httpx.InvalidURL):
        return Transient("config", "the provider's url cannot be used")
    return http_exchange.unanswered(error, flight)


def unreadable(error: Exception, flight: Flight) -> Outcome:
    if flight.left:
        return Unknown(f"Twilio's answer cannot be read: {type(error).__name__}")
    return Permanent("refused", f"the message cannot be put into a request: {type(error).__name__}", sends=0)
