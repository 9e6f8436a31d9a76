"""What reached the doubles: every request that a provider had whole in hand, whatever it answered, by notification."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outbox.local.doubles.faults import CONTROL

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The ids of the notifications that a request is about: none where it sends nothing, like one for an access token.
Reader = Callable[[Scope, bytes], Iterable[str]]


def texted(scope: Scope, body: bytes) -> Iterable[str]:
    """Twilio. A GET asks for messages; it sends none."""
    if scope["method"] == "POST":
        yield from ID.findall(parse_qs(body.decode())["StatusCallback"][0])


def mailed(_: Scope, body: bytes) -> Iterable[str]:
    """SendGrid: a letter each."""
    return [part["custom_args"]["notification_id"] for part in json.loads(body)["personalizations"]]


def pushed_by_fcm(scope: Scope, body: bytes) -> Iterable[str]:
    if scope["path"].endswith("messages:send"):
        yield json.loads(body)["message"]["data"]["notification_id"]


def pushed_by_apns(_: Scope, body: bytes) -> Iterable[str]:
    yield json.loads(body)["notification_id"]


def hooked(scope: Scope, _: bytes) -> Iterable[str]:
    yield from (value.decode() for name, value in scope["headers"] if name == b"webhook-id")


@dataclass(slots=True)
class Arrivals:
    """By provider and notification. `requests`: by provider, of those that are about any."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)

    def add(self, provider: str, notifications: Iterable[str]) -> None:
        about = [(provider, notification) for notification in notifications]
        self.counts.update(about)
        self.requests[provider] += bool(about)

    def counting(self, app: ASGIApp, provider: str, read: Reader) -> ASGIApp:
        """The application, faults and all, with a counter before it."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"].startswith(CONTROL):
                await app(scope, receive, send)
                return
            messages = [await receive()]
            while messages[-1].get("more_body"):
                messages.append(await receive())
            if messages[-1]["type"] == "http.request":
                body = b"".join(message.get("body", b"") for message in messages)
                self.add(provider, read(scope, body))

            async def again() -> Message:
                return messages.pop(0) if messages else await receive()

            await app(scope, again, send)

        return counted
