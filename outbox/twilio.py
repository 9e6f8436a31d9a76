"""Twilio's side of the contract, shared by the worker that sends, the API that hears back, and the double: accounts,
error codes, statuses, keywords. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from outbox.errors import SettingsError
from outbox.settings import resolve

URL = "https://api.twilio.com"
CALLBACK = "/v1/callbacks/twilio"
INBOUND = f"{CALLBACK}/inbound"


class Kind(Enum):
    """What an error code is about."""

    GONE = auto()  # no message will ever reach this number
    UNSUBSCRIBED = auto()  # its owner said STOP
    ROUTE = auto()  # this account's sender does not reach it
    BODY = auto()
    AUTH = auto()
    CONFIG = auto()
    THROTTLED = auto()
    TRANSIENT = auto()
    UNDELIVERED = auto()  # taken, and not delivered: the number may be fine


# Each code has its page: https://www.twilio.com/docs/api/errors/<code>.
ERRORS: Mapping[int, tuple[Kind, str]] = {
    14107: (Kind.THROTTLED, "message rate limit exceeded"),
    20003: (Kind.AUTH, "permission denied: account SID or auth token is wrong"),
    20005: (Kind.AUTH, "the account is not active"),
    20404: (Kind.CONFIG, "no such account or resource"),
    20429: (Kind.THROTTLED, "too many requests"),
    20500: (Kind.TRANSIENT, "internal server error"),
    20503: (Kind.TRANSIENT, "service unavailable"),
    21211: (Kind.GONE, "the number is invalid"),
    21212: (Kind.CONFIG, "the sender is invalid"),
    21214: (Kind.GONE, "the number cannot be reached"),
    21217: (Kind.GONE, "the number does not appear to be valid"),
    21408: (Kind.ROUTE, "the account has no permission for this region"),
    21602: (Kind.BODY, "the message has no body"),
    21603: (Kind.CONFIG, "a sender is required"),
    21606: (Kind.ROUTE, "the sender cannot send to this number"),
    21608: (Kind.ROUTE, "a trial account cannot send to an unverified number"),
    21610: (Kind.UNSUBSCRIBED, "the recipient has opted out (STOP)"),
    21611: (Kind.THROTTLED, "the sender has too many messages in its queue"),
    21612: (Kind.ROUTE, "the number cannot be reached from this sender"),
    21614: (Kind.GONE, "the number is no mobile number"),
    21617: (Kind.BODY, "the body is longer than 1,600 characters"),
    21619: (Kind.BODY, "the message has neither body nor media"),
    21635: (Kind.GONE, "the number is a landline"),
    21659: (Kind.CONFIG, "the sender is no Twilio number"),
    21660: (Kind.CONFIG, "the sender is not this account's"),
    21661: (Kind.CONFIG, "the sender cannot send text messages"),
    21701: (Kind.CONFIG, "the messaging service does not exist"),
    21703: (Kind.CONFIG, "the messaging service has no sender"),
    30001: (Kind.UNDELIVERED, "queue overflow"),
    30002: (Kind.UNDELIVERED, "the account was suspended"),
    30003: (Kind.UNDELIVERED, "the handset cannot be reached"),
    30004: (Kind.UNDELIVERED, "the message was blocked"),
    30005: (Kind.GONE, "the handset is unknown"),
    30006: (Kind.GONE, "a landline, or a carrier that cannot be reached"),
    30007: (Kind.UNDELIVERED, "filtered by the carrier"),
    30008: (Kind.UNDELIVERED, "unknown error"),
    30036: (Kind.UNDELIVERED, "the validity period was over"),
}

# https://www.twilio.com/docs/messaging/api/message-resource#message-status-values. Requests come in any order: the
# higher rank is the later truth. Of two final ones the first stays.
RANKS: Mapping[str, int] = {
    "accepted": 1,
    "scheduled": 1,
    "queued": 1,
    "sending": 2,
    "sent": 3,
    "delivered": 4,
    "read": 4,
    "undelivered": 4,
    "failed": 4,
    "canceled": 4,
}
# https://help.twilio.com/articles/223134027: what English-speaking recipients answer to end and to resume messages.
STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
START = frozenset({"START", "YES", "UNSTOP"})


@dataclass(frozen=True, slots=True)
class Account:
    """One provider of a channel's config, its secrets in hand. One of `sender` and `service` is set."""

    name: str
    sid: str
    token: str
    sender: str | None
    service: str | None
    url: str


def account(name: str, part: Mapping[str, Any]) -> Account:
    """Raises SettingsError, which says what to write."""
    sender, service = optional(part, "from"), optional(part, "messaging_service")
    if (sender is None) == (service is None):
        raise SettingsError(
            f'provider {name}: give either "from" (a number or a sender id) or "messaging_service" (MG…)'
        )
    for key in ("account_sid", "auth_token"):
        if not isinstance(part.get(key), str):
            raise SettingsError(f'provider {name}: "{key}" is missing; write "env:NAME"')
    url = base_url(name, part)
    return Account(name, resolve(part["account_sid"]), resolve(part["auth_token"]), sender, service, url)


def base_url(name: str, part: Mapping[str, Any]) -> str:
    """Twilio's own, unless another is given: a double's. A variable that is not set gives Twilio's."""
    try:
        url = optional(part, "url") or URL
    except SettingsError:
        return URL
    if not url.startswith(("https://", "http://")):
        raise SettingsError(f'provider {name}: "url" must begin with https://')
    return url.rstrip("/")


def optional(part: Mapping[str, Any], key: str) -> str | None:
    """A value as it is, or from the environment where it says env:NAME. Raises SettingsError where that is not set."""
    value = part.get(key)
    if not isinstance(value, str) or not value:
        return None
    return resolve(value) if value.startswith("env:") else value


def told(code: int) -> str:
    """A code in our own words: Twilio's would hold the number."""
    _, words = ERRORS.get(code, (None, "see https://www.twilio.com/docs/api/errors/" + str(code)))
    return f"{code} {words}"


def callback_url(api: str, channel: str, notification_id: UUID) -> str:
    """Where Twilio reports of one message. It signs the whole URL, so nobody else can name a notification."""
    return f"{api}{CALLBACK}?{urlencode({'channel': channel, 'notification': str(notification_id)})}"
