"""SMS: Twilio's double."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from outbox.local.doubles.faults import Kind
from outbox.local.doubles.serving import running
from outbox.local.doubles.twilio import SID, TOKEN, TwilioDouble
from tests.workers.conftest import Road
from tests.workers.outcomes.mails import nobody
from tests.workers.outcomes.stage import Case

SLOW_SECONDS = 0.3


@dataclass(slots=True)
class Twilio:
    far: TwilioDouble

    channel = "sms"

    @property
    def config(self) -> Mapping[str, Any]:
        return self.at(self.far.double.url)

    def at(self, url: str, token: str = "TWILIO_AUTH_TOKEN") -> Mapping[str, Any]:
        part = {"type": "twilio", "account_sid": "env:TWILIO_ACCOUNT_SID", "auth_token": f"env:{token}"}
        return {"providers": [part | {"from": "+15005550006", "url": url}]}

    @property
    def cases(self) -> Mapping[str, Case]:
        url, order = self.far.double.url, self.far.double.menu.order
        secure = self.at(url.replace("http:", "https:"))
        long = {"body": "x" * 1_000}
        return {
            "success": Case(),
            "recipient_gone": Case(to="+15005550001"),
            "route": Case(to="+15005550002"),
            "refused": Case(lambda: order(Kind.ANSWER, status=400, body={"code": 21619, "message": "no"})),
            "too_long": Case(columns={"payload": long}),
            "auth": Case(config=self.at(url, "TWILIO_WRONG")),
            "config_refused": Case(lambda: order(Kind.ANSWER, status=404, body={"code": 20404})),
            "throttled": Case(lambda: order(Kind.ANSWER, status=429, headers={"Retry-After": "1"})),
            "http_5xx": Case(lambda: order(Kind.ANSWER, status=503)),
            "unknown": Case(lambda: order(Kind.ANSWER, status=504, taken=True)),
            "connection": Case(config=self.at(nobody())),
            "tls": Case(lambda: order(Kind.GARBAGE, times=None), config=secure),
            "timeout before sending": Case(lambda: order(Kind.SILENT, times=None), config=secure),
            "timeout after sending": Case(lambda: order(Kind.HANG, taken=True)),
            "malformed answer": Case(lambda: order(Kind.MALFORMED, taken=True)),
            "slow": Case(lambda: order(Kind.SLOW, seconds=SLOW_SECONDS)),
        }

    async def settle_in(self, road: Road, user: str, to: str | None) -> None:
        number = f"+1202555{int(user.rpartition('-')[2]):04}"
        await road.admin.execute(
            "INSERT INTO notify.recipients (user_id, phone) VALUES ($1, $2) "
            "ON CONFLICT (user_id) DO UPDATE SET phone = excluded.phone",
            user,
            to or number,
        )

    def has(self, words: str) -> bool:
        return any(message.text == words for message in self.far.double.box.messages)

    def fail(self) -> None:
        self.far.double.menu.order(Kind.ANSWER, times=None, status=500)

    def heal(self) -> None:
        self.far.double.menu.clear()


@asynccontextmanager
async def twilio(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Twilio]:
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", SID)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("TWILIO_WRONG", "wrong")
    double = TwilioDouble(reports=())
    async with running(double.double):
        yield Twilio(double)
    await double.close()
