"""APNs over HTTP/2: one request for each token, many at a time on one connection that stays open.

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
"""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from db.push import Device
from outbox.envelope import Priority
from workers.apns_token import Signer
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

URL, SANDBOX_URL = "https://api.push.apple.com", "https://api.sandbox.push.apple.com"
# 1: "prioritize the device's power considerations over all other factors, and prevent awakening it".
PRIORITY = {Priority.URGENT: "10", Priority.NORMAL: "5", Priority.BULK: "1"}
# A wrong `sandbox` or `topic` makes every token look like this.
DEAD_OR_MISCONFIGURED = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic"})


@dataclass(frozen=True, slots=True)
class App:
    """Which app is written to, and the key that lets us."""

    topic: str
    signer: Signer
    origin: Origin


class Apns:
    name = "apns"

    def __init__(self, app: App) -> None:
        self.app = app
        self._lines = Lines(app.origin.client())
        self._proven = False  # has anything been taken under this config?

    async def send(self, parcel: Parcel) -> Outcome:
        push = parcel.push
        body = fitted(lambda text: payload(push, text), push.body)
        if body is None:
            return too_large(push)
        answer = await self._ask(parcel, payload(push, body))
        if not isinstance(answer, Answer):
            return answer
        self._proven |= answer.status == 200
        outcome = classify(answer, parcel.device, datetime.now(UTC), proven=self._proven)
        return counted(outcome, answer.requests)

    async def _ask(self, parcel: Parcel, content: bytes) -> Answer | Transient | Unknown:
        """Once; again where it was only the provider token that was too old."""
        token = self.app.signer.token(time.time())
        answer = await self._lines.post(self._request(parcel, token, content), parcel.ends)
        if (
            isinstance(answer, Answer)
            and answer.status == 403
            and reason_of(answer) == "ExpiredProviderToken"
        ):
            fresh = self.app.signer.token(time.time(), refused=token)
            if fresh != token:
                return again(await self._lines.post(self._request(parcel, fresh, content), parcel.ends))
        return answer

    def _request(self, parcel: Parcel, token: str, content: bytes) -> Request:
        push, device = parcel.push, parcel.device
        headers = {
            "authorization": f"bearer {token}",
            "apns-topic": self.app.topic,
            "apns-push-type": "alert",
            "apns-priority": PRIORITY[push.priority],
            "apns-expiration": str(int(time.time()) + push.ttl_seconds if push.ttl_seconds else 0),
            "apns-collapse-id": push.collapse,
            "apns-id": str(identity(push.notification_id, device.token)),
        }
        return Request(f"/3/device/{device.token}", headers, content)

    async def close(self) -> None:
        await self._lines.close()


def identity(notification_id: UUID, token: str) -> UUID:
    """The same at every attempt, so that a push sent twice can be told by it."""
    return uuid5(notification_id, token)


def payload(push: Push, body: str) -> bytes:
    alert = {name: text for name, text in (("title", push.title), ("body", body)) if text}
    aps: dict[str, Any] = {"alert": alert, "badge": push.badge, "sound": "default"}
    content = {**push.data, "aps": aps}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def classify(answer: Answer, device: Device, now: datetime, *, proven: bool) -> Outcome:
    """The outcome that an answer stands for. It is told without the token."""
    if answer.status == 200:
        return Delivered(answer.headers.get("apns-id"))
    why = reason_of(answer)
    reason = clean(f"{answer.status} {why or ''}")
    if answer.status == 410:
        return unregistered(answer, device, reason)
    if answer.status == 400 and why in DEAD_OR_MISCONFIGURED:
        return RecipientGone(reason) if proven else Permanent("bad_token", unproven(reason))
    if answer.status == 429 and why == "TooManyRequests":  # to this one device
        return Transient("throttled_device", reason, retry_after(answer.headers.get("retry-after"), now))
    return by_status(answer, reason, retry_after(answer.headers.get("retry-after"), now))


def by_status(answer: Answer, reason: str, wait: float | None) -> Outcome:
    match answer.status:
        case 403:
            return Transient("auth", reason)
        case 413:
            return Permanent("too_large", reason)
        case 429:
            return Throttled(reason, wait)
        case status if status >= 500:
            return Transient("apns_5xx", reason, wait)
    return Permanent("apns_4xx" if answer.status >= 400 else "protocol", reason)


def unregistered(answer: Answer, device: Device, reason: str) -> Outcome:
    """Dead, unless the app has registered the token since APNs found it so. `timestamp` is in milliseconds."""
    found = answer.document().get("timestamp")
    if (
        isinstance(found, int | float)
        and not isinstance(found, bool)
        and found / 1000 > device.registered_at.timestamp()
    ):
        return RecipientGone(reason)
    return Permanent("unregistered", f"{reason}; the token is kept, as it was registered again since")


def unproven(reason: str) -> str:
    return f"{reason}; the token is kept, as nothing was taken under this config yet: are sandbox and topic right?"


def reason_of(answer: Answer) -> str | None:
    reason = answer.document().get("reason")
    return reason if isinstance(reason, str) else None
