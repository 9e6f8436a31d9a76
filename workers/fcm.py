"""FCM, HTTP v1: one request for each token (there is no batch any more), many at a time on one HTTP/2 connection.

pyfcm builds the message. Its own sending is not used: it blocks, sleeps for a Retry-After and calls itself again
without end, trips over one that is a date, and posts again after 502 and 503.
https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyfcm import FCMNotification

from outbox.envelope import Priority
from outbox.errors import SettingsError
from workers.google_token import Access, credentials
from workers.http2 import Answer, Origin, Request, again
from workers.lines import Lines
from workers.outcome import (
    Delivered,
    Outcome,
    Permanent,
    RecipientGone,
    Throttled,
    Transient,
    Unknown,
    clean,
    counted,
)
from workers.push_message import Parcel, Push, fitted, too_large
from workers.retry_after import retry_after

URL = "https://fcm.googleapis.com"
# "Retry after at least one minute" where a 429 names no time.
QUOTA_SECONDS = 60.0
ERROR, BAD_REQUEST = "google.firebase.fcm.v1.FcmError", "google.rpc.BadRequest"
QUOTA_FAILURE = "google.rpc.QuotaFailure"
APNS_PRIORITY = {Priority.URGENT: "10", Priority.NORMAL: "5", Priority.BULK: "1"}
URGENCY = {Priority.URGENT: "high", Priority.NORMAL: "normal", Priority.BULK: "low"}


@dataclass(frozen=True, slots=True)
class Account:
    """The project to send from, and the secret that lets us."""

    project: str
    access: Access
    origin: Origin

    @classmethod
    def from_config(cls, secret: str, project: str | None, origin: Origin) -> "Account":
        """Raises SettingsError."""
        key = credentials(secret)
        named = project or key.project_id
        if not named:
            raise SettingsError("FCM's credentials name no project: set project in the channel's config")
        return cls(named, Access(key, origin.ca, origin.direct), origin)


class Fcm:
    name = "fcm"

    def __init__(self, account: Account) -> None:
        self.account = account
        self._lines = Lines(account.origin.client())
        self._messages = FCMNotification(project_id=account.project, credentials=account.access.credentials)
        # Has this config ever been taken? If not, a token that seems to be another project's may be well.
        self._proven = False

    async def send(self, parcel: Parcel) -> Outcome:
        content = self._content(parcel)
        if content is None:
            return too_large(parcel.push)
        answer = await self._ask(content, parcel.ends)
        if not isinstance(answer, Answer):
            return answer
        self._proven |= answer.status == 200
        return counted(classify(answer, datetime.now(UTC), proven=self._proven), answer.requests)

    async def _ask(self, content: bytes, ends: float) -> Answer | Transient | Unknown:
        """Once; again where it was only the access token that did not hold."""
        token = await self.account.access.token(ends)
        if isinstance(token, Transient):
            return token
        answer = await self._lines.post(self._request(token, content), ends)
        if not isinstance(answer, Answer) or answer.status != 401 or code_of(answer) is not None:
            return answer
        fresh = await self.account.access.token(ends, refused=token)
        if isinstance(fresh, Transient):
            return again(fresh)
        return again(await self._lines.post(self._request(fresh, content), ends))

    def _request(self, token: str, content: bytes) -> Request:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return Request(f"/v1/projects/{self.account.project}/messages:send", headers, content)

    def _content(self, parcel: Parcel) -> bytes | None:
        """The request's body; None where the push is too large. The token does not count."""
        push, moment = parcel.push, int(time.time())
        body = fitted(lambda text: self._message(push, text, moment), push.body)
        return None if body is None else self._message(push, body, moment, parcel.device.token)

    def _message(self, push: Push, body: str, now: int, token: str | None = None) -> bytes:
        content: bytes = self._messages.parse_payload(
            fcm_token=token,
            notification_title=push.title,
            notification_body=body,
            data_payload=dict(push.data),
            android_config=android(push),
            apns_config=apns(push, now),
            webpush_config={
                "headers": {"TTL": str(push.ttl_seconds), "Urgency": URGENCY[push.priority]},
            },
        )
        return content

    async def close(self) -> None:
        await self._lines.close()
        await self.account.access.close()


def android(push: Push) -> dict[str, Any]:
    """`tag`: a notification with the same replaces the one that is shown, so one that came twice is seen once."""
    return {
        "priority": "HIGH" if push.priority is Priority.URGENT else "NORMAL",
        "ttl": f"{push.ttl_seconds}s",
        "notification": {"tag": push.collapse, "notification_count": push.badge},
    } | ({"collapse_key": push.queue} if push.queue else {})


def apns(push: Push, now: int) -> dict[str, Any]:
    """For Apple's devices behind FCM."""
    headers = {
        "apns-priority": APNS_PRIORITY[push.priority],
        "apns-expiration": str(now + push.ttl_seconds),
        "apns-collapse-id": push.collapse,
    }
    return {"headers": headers, "payload": {"aps": {"badge": push.badge, "sound": "default"}}}


def classify(answer: Answer, now: datetime, *, proven: bool) -> Outcome:
    """The outcome that an answer stands for. It is told without the token."""
    if answer.status == 200:
        return Delivered(message_id(answer))
    reason = reason_of(answer)
    match answer.status, code_of(answer):
        case 404, "UNREGISTERED":
            return RecipientGone(reason)
        case 403, "SENDER_ID_MISMATCH":
            return RecipientGone(reason) if proven else Permanent("bad_token", unproven(reason))
        case 400, _:
            return RecipientGone(reason) if names_token(answer) else Permanent("fcm_4xx", reason)
    return by_status(answer, reason, retry_after(answer.headers.get("retry-after"), now))


def by_status(answer: Answer, reason: str, wait: float | None) -> Outcome:
    match answer.status:
        case 401 if code_of(answer) == "THIRD_PARTY_AUTH_ERROR":
            return Transient(
                "third_party_auth", reason
            )  # Apple's key, or web push's, at FCM: other devices are well
        case 401 | 403:
            return Transient("auth", reason)
        case 429:
            wait = QUOTA_SECONDS if wait is None else wait
            return (
                Transient("throttled_device", reason, wait) if of_device(answer) else Throttled(reason, wait)
            )
        case status if status >= 500:
            return Transient("fcm_5xx", reason, wait)
    return Permanent("fcm_4xx" if answer.status >= 400 else "protocol", reason)


def unproven(reason: str) -> str:
    return (
        f"{reason}; the token is kept, as nothing was taken under this config yet: is it the right project?"
    )


def message_id(answer: Answer) -> str | None:
    name = answer.document().get("name")
    return clean(name.rpartition("/")[2]) if isinstance(name, str) else None


def error_of(answer: Answer) -> Mapping[str, Any]:
    error = answer.document().get("error")
    return error if isinstance(error, dict) else {}


def details(answer: Answer, kind: str) -> list[dict[str, Any]]:
    listed = error_of(answer).get("details")
    found = listed if isinstance(listed, list) else []
    return [one for one in found if isinstance(one, dict) and str(one.get("@type", "")).endswith(f"/{kind}")]


def code_of(answer: Answer) -> str | None:
    """FCM's own error code, where it gives one."""
    for detail in details(answer, ERROR):
        return str(detail.get("errorCode"))
    return None


def of_device(answer: Answer) -> bool:
    """Whether the quota used up is this device's own (ErrorCode QUOTA_EXCEEDED: a QuotaFailure tells which)."""
    told = [str(part).lower() for detail in details(answer, QUOTA_FAILURE) for part in violations(detail)]
    return bool(told) and all("device" in text for text in told)


def violations(detail: Mapping[str, Any]) -> list[Any]:
    listed = detail.get("violations")
    return listed if isinstance(listed, list) else []


def names_token(answer: Answer) -> bool:
    """Whether the invalid argument is the token: BadRequest names the field; without it only the message tells."""
    if found := details(answer, BAD_REQUEST):
        fields = [
            str(one.get("field", ""))
            for detail in found
            for one in detail.get("fieldViolations") or []
            if isinstance(one, dict)
        ]
        return bool(fields) and all(
            field.rpartition(".")[2] in {"token", "registration_token"} for field in fields
        )
    return code_of(answer) == "INVALID_ARGUMENT" and "registration token" in reason_of(answer).lower()


def reason_of(answer: Answer) -> str:
    error = error_of(answer)
    words = [str(answer.status), code_of(answer) or error.get("status"), error.get("message")]
    return clean(" ".join(str(word) for word in words if word))
