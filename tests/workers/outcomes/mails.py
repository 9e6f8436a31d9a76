"""E-mail: a mail server behind a door that can fail, and SendGrid's double."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from outbox.local.doubles.faults import Kind, Menu
from outbox.local.doubles.front import Front
from outbox.local.doubles.sendgrid import KEY, SendGridDouble
from outbox.local.doubles.serving import running
from outbox.local.ports import LOOPBACK, any_free
from tests.workers.conftest import Road
from tests.workers.mail import HANG, MailServer, mail_server
from tests.workers.outcomes.stage import Case

FROM = "Shop <no-reply@shop.example>"
SLOW_SECONDS = 0.3


async def settle_in(road: Road, user: str, to: str | None) -> None:
    await road.admin.execute(
        "INSERT INTO notify.recipients (user_id, email) VALUES ($1, $2) "
        "ON CONFLICT (user_id) DO UPDATE SET email = excluded.email",
        user,
        to or f"{user}@example.com",
    )


@dataclass(slots=True)
class Smtp:
    server: MailServer
    door: Front

    channel = "email"

    def url(self, scheme: str = "smtp", login: str = "") -> str:
        return f"{scheme}://{login}{LOOPBACK}:{self.door.port}"

    @property
    def config(self) -> Mapping[str, Any]:
        return {"from": FROM, "providers": [{"type": "smtp", "url": "env:SMTP_URL"}]}

    def through(self, name: str) -> Mapping[str, Any]:
        return {"providers": [{"type": "smtp", "name": "smtp", "url": f"env:{name}"}]}

    @property
    def cases(self) -> Mapping[str, Case]:
        server, order = self.server, self.door.menu.order
        return {
            "success": Case(),
            "smtp_4xx": Case(lambda: server.rcpt.append("450 4.2.1 busy")),
            "throttled": Case(lambda: server.rcpt.append("421 4.7.0 too many")),
            "auth": Case(config=self.through("SMTP_WRONG")),
            "recipient_gone": Case(lambda: server.rcpt.append("550 5.1.1 no such user")),
            "smtp_5xx": Case(lambda: server.rcpt.append("552 5.2.2 mailbox full")),
            "bad_address": Case(to="jörg@example.com"),
            "smtp_protocol": Case(lambda: server.rcpt.append("what?")),
            "connection": Case(lambda: order(Kind.REFUSED, times=None)),
            "tls": Case(lambda: order(Kind.GARBAGE, times=None), config=self.through("SMTP_TLS")),
            "timeout before sending": Case(lambda: server.rcpt.append(HANG)),
            "timeout after sending": Case(lambda: server.after_data.append(HANG)),
            "malformed answer": Case(lambda: server.after_data.append("what?")),
            "slow": Case(self.slowly),
        }

    def slowly(self) -> None:
        self.server.gate.clear()
        asyncio.get_running_loop().call_later(SLOW_SECONDS, self.server.gate.set)

    async def settle_in(self, road: Road, user: str, to: str | None) -> None:
        await settle_in(road, user, to)

    def has(self, words: str) -> bool:
        return any(mail["Subject"] == words for mail in self.server.mails)

    def fail(self) -> None:
        self.door.menu.order(Kind.REFUSED, times=None)

    def heal(self) -> None:
        self.door.menu.clear()
        for queue in (self.server.rcpt, self.server.data, self.server.after_data):
            queue.clear()


@asynccontextmanager
async def smtp(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Smtp]:
    async with mail_server(login=True) as server:
        door = Front(Menu())
        door.target = (LOOPBACK, server.port)
        await door.start(LOOPBACK, 0)
        made = Smtp(server, door)
        monkeypatch.setenv("SMTP_URL", made.url())
        monkeypatch.setenv("SMTP_WRONG", made.url(login="ada:wrong@"))
        monkeypatch.setenv("SMTP_TLS", made.url("smtps"))
        try:
            yield made
        finally:
            await door.stop()


@dataclass(slots=True)
class SendGrid:
    far: SendGridDouble

    channel = "email"

    @property
    def config(self) -> Mapping[str, Any]:
        return {"from": FROM, **self.at(self.far.double.url)}

    def at(self, url: str, key: str = "SENDGRID_API_KEY") -> Mapping[str, Any]:
        return {"providers": [{"type": "sendgrid", "key": f"env:{key}", "url": url}]}

    @property
    def cases(self) -> Mapping[str, Case]:
        url, order = self.far.double.url, self.far.double.menu.order
        secure = self.at(url.replace("http:", "https:"))
        content = {"errors": [{"message": "no", "field": "personalizations.0.subject"}]}
        return {
            "success": Case(),
            "bad_address": Case(to="x@localhost"),
            "refused": Case(lambda: order(Kind.ANSWER, status=400, body=content)),
            "config": Case(lambda: order(Kind.ANSWER, status=404)),
            "auth": Case(config=self.at(url, "SENDGRID_WRONG")),
            "too_large": Case(lambda: order(Kind.ANSWER, status=413)),
            "throttled": Case(lambda: order(Kind.ANSWER, status=429, headers={"Retry-After": "1"})),
            "http_5xx": Case(lambda: order(Kind.ANSWER, status=503)),
            "protocol": Case(lambda: order(Kind.ANSWER, status=302)),
            "connection": Case(config=self.at(nobody())),
            "tls": Case(lambda: order(Kind.GARBAGE, times=None), config=secure),
            "timeout before sending": Case(lambda: order(Kind.SILENT, times=None), config=secure),
            "timeout after sending": Case(lambda: order(Kind.HANG, taken=True)),
            "malformed answer": Case(lambda: order(Kind.MALFORMED, taken=True)),
            "slow": Case(lambda: order(Kind.SLOW, seconds=SLOW_SECONDS)),
        }

    async def settle_in(self, road: Road, user: str, to: str | None) -> None:
        await settle_in(road, user, to)

    def has(self, words: str) -> bool:
        return any(message.title == words for message in self.far.double.box.messages)

    def fail(self) -> None:
        self.far.double.menu.order(Kind.ANSWER, times=None, status=503)

    def heal(self) -> None:
        self.far.double.menu.clear()


def nobody() -> str:
    """Where nobody listens."""
    return f"http://{LOOPBACK}:{any_free()}"


@asynccontextmanager
async def sendgrid(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SendGrid]:
    monkeypatch.setenv("SENDGRID_API_KEY", KEY)
    monkeypatch.setenv("SENDGRID_WRONG", "SG.wrong")
    double = SendGridDouble()
    async with running(double.double):
        yield SendGrid(double)
