"""Push: the doubles of FCM and APNs."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from outbox.local.doubles.apns import ApnsDouble
from outbox.local.doubles.faults import Kind
from outbox.local.doubles.fcm import FcmDouble
from outbox.local.doubles.http2 import Certificate, over_http2
from outbox.local.doubles.serving import Double, running
from tests.workers.conftest import Road
from tests.workers.outcomes.stage import Case

SLOW_SECONDS = 0.3
SEND = {"fcm": "messages:send", "apns": "/3/device"}  # not the path of Google's tokens
QUOTA = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"description": "device"}]}
OF_DEVICE = {"fcm": {"error": {"details": [QUOTA]}}, "apns": {"reason": "TooManyRequests"}}
THIRD_PARTY = {
    "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
    "errorCode": "THIRD_PARTY_AUTH_ERROR",
}
LARGE = {"payload": {"data": {"x": "y" * 5_000}}}


@dataclass(slots=True)
class Push:
    """Devices of one platform. `part`: its provider in the config; `own`: the cases that the other does not have."""

    platform: str
    double: Double
    part: Mapping[str, Any]
    token: Callable[[str], str]
    own: Mapping[str, Case]

    channel = "push"

    @property
    def config(self) -> Mapping[str, Any]:
        return {"providers": [self.part]}

    def fault(self, kind: Kind, **details: Any) -> Callable[[], object]:
        return lambda: self.double.menu.order(kind, path=SEND[self.platform], **details)

    def door(self, kind: Kind) -> Callable[[], object]:
        return lambda: self.double.menu.order(kind, times=None)

    @property
    def cases(self) -> Mapping[str, Case]:
        return {
            **self.own,
            "success": Case(),
            "throttled": Case(self.fault(Kind.ANSWER, status=429, headers={"Retry-After": "1"})),
            "throttled_device": Case(self.fault(Kind.ANSWER, status=429, body=OF_DEVICE[self.platform])),
            f"{self.platform}_4xx": Case(self.fault(Kind.ANSWER, status=400)),
            f"{self.platform}_5xx": Case(self.fault(Kind.ANSWER, status=503)),
            "auth": Case(self.fault(Kind.ANSWER, status=403)),
            "protocol": Case(self.fault(Kind.ANSWER, status=302)),
            "too_large": Case(columns=LARGE),
            "connection": Case(self.door(Kind.REFUSED)),
            "tls": Case(self.door(Kind.GARBAGE)),
            "timeout before sending": Case(self.door(Kind.SILENT)),
            "timeout after sending": Case(self.fault(Kind.HANG, taken=True)),
            "malformed answer": Case(self.fault(Kind.MALFORMED, taken=True)),
            "slow": Case(self.fault(Kind.SLOW, seconds=SLOW_SECONDS)),
        }

    async def settle_in(self, road: Road, user: str, to: str | None) -> None:
        await road.admin.execute(
            "INSERT INTO notify.device_tokens (user_id, platform, token, registered_at) "
            "VALUES ($1, $2, $3, now() - interval '1 minute') ON CONFLICT DO NOTHING",
            user,
            self.platform,
            to or self.token(user),
        )

    def has(self, words: str) -> bool:
        return any(message.title == words for message in self.double.box.messages)

    def fail(self) -> None:
        self.fault(Kind.ANSWER, times=None, status=503)()

    def heal(self) -> None:
        self.double.menu.clear()


@asynccontextmanager
async def fcm(monkeypatch: pytest.MonkeyPatch, folder: Path) -> AsyncIterator[Push]:
    """Google's tokens come from a double of their own, so that they are there when FCM is not."""
    certificate, google = Certificate.kept(folder), FcmDouble()
    double, http = FcmDouble(google.account), over_http2(certificate)
    double.tokens = google.tokens
    async with running(google.double, http), running(double.double, http):
        monkeypatch.setenv("FCM_CREDENTIALS", google.credentials)
        part = {"type": "fcm", "credentials": "env:FCM_CREDENTIALS"}
        third = {"error": {"details": [THIRD_PARTY]}}
        own = {
            "recipient_gone": Case(to="gone-phone"),
            "bad_token": Case(to="stranger-phone"),
            "third_party_auth": Case(lambda: double.double.menu.order(Kind.ANSWER, status=401, body=third)),
        }
        yield Push("fcm", double.double, part | at(double.double, certificate), lambda user: user, own)


@asynccontextmanager
async def apns(monkeypatch: pytest.MonkeyPatch, folder: Path) -> AsyncIterator[Push]:
    certificate, double = Certificate.kept(folder), ApnsDouble()
    async with running(double.double, over_http2(certificate)):
        team = double.team
        monkeypatch.setenv("APNS_KEY", team.p8)
        part = {"type": "apns", "key": "env:APNS_KEY", "key_id": team.key_id, "team_id": team.team_id}
        own = {
            "recipient_gone": Case(to="dead" * 16),
            "unregistered": Case(lambda: setattr(double, "gone_at", 1), to="dead" * 15 + "0001"),
            "bad_token": Case(to="bad0" * 16),
        }
        part |= {"topic": team.topic} | at(double.double, certificate)
        yield Push("apns", double.double, part, lambda user: user.encode().hex().ljust(64, "c"), own)


def at(double: Double, certificate: Certificate) -> dict[str, Any]:
    return {"url": double.url, "ca": str(certificate.chain)}
