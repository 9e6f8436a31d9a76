"""What a run stands on: Postgres and Valkey of its own, relay, workers, and a double for every provider."""

import asyncio
import itertools
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from bench.channels.arrivals import (
    Arrivals,
    Reader,
    hooked,
    mailed,
    pushed_by_apns,
    pushed_by_fcm,
    texted,
)
from bench.channels.mail import Server, mail_server
from bench.channels.menu import Odds
from bench.processes import Service, all_of, service
from bench.servers import Database, Servers
from outbox.local.doubles.apns import ApnsDouble
from outbox.local.doubles.fcm import FcmDouble
from outbox.local.doubles.http2 import Certificate, over_http2
from outbox.local.doubles.sendgrid import KEY, SendGridDouble
from outbox.local.doubles.serving import Double, running
from outbox.local.doubles.twilio import SID, TOKEN, TwilioDouble
from outbox.local.doubles.webhook import Receiver, new_secret
from outbox.service import Stop

PEOPLE = 1_000
PEOPLE_SQL = Path(__file__).with_name("people.sql")
HOST = "127.0.0.1"  # what the timeline calls a webhook's provider
FROM = "Bench <bench@example.com>"
WORKERS = 2
# Other than by default: waits and time-outs are short, so that a run with hangs and retries ends in minutes.
# Attempts of e-mail, SMS and push have half of the lease, which their providers share. With 10 s, a worker that had no
# core for some seconds, as both are busy, came too late to tell what it had sent.
SETTINGS = {
    "OUTBOX_RETRY_BASE": "0.5",
    "OUTBOX_RETRY_CAP": "5",
    "OUTBOX_WORKER_LEASE": "20",
    "OUTBOX_EGRESS_ALLOW": "127.0.0.0/8",
}
HOOK_SECONDS = 5.0
AWAY_SECONDS = 0.3


@dataclass(slots=True)
class Doubles:
    """All of them. `certificate` is what they show and clients have to trust."""

    certificate: Certificate
    arrivals: Arrivals = field(default_factory=Arrivals)
    fcm: FcmDouble = field(default_factory=FcmDouble)
    apns: ApnsDouble = field(default_factory=ApnsDouble)
    sendgrid: SendGridDouble = field(default_factory=SendGridDouble)
    # Two accounts, the second one for when the first fails.
    twilio: tuple[TwilioDouble, TwilioDouble] = field(
        default_factory=lambda: (TwilioDouble(reports=()), TwilioDouble(reports=()))
    )
    hook_secret: str = field(default_factory=lambda: new_secret(secrets.token_bytes(24)))
    receiver: Receiver = field(init=False)
    mail: Server = field(init=False)
    odds: dict[str, Odds] = field(default_factory=dict)
    away: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.receiver = Receiver(self.hook_secret)

    def each(self) -> list[tuple[str, Double, Reader]]:
        """With the names by which the timeline calls them."""
        first, second = self.twilio
        return [
            ("fcm", self.fcm.double, pushed_by_fcm),
            ("apns", self.apns.double, pushed_by_apns),
            ("sendgrid", self.sendgrid.double, mailed),
            ("twilio", first.double, texted),
            ("twilio-b", second.double, texted),
            (HOST, self.receiver.double, hooked),
        ]

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """All over TLS: without it, what is lost at connect would be a request that had left."""
        async with AsyncExitStack() as stack:
            self.mail = await stack.enter_async_context(mail_server(self.arrivals))
            for name, double, read in self.each():
                double.scheme = "https"
                double.menu = double.front.menu = self.odds[name] = Odds()
                await stack.enter_async_context(running(double, self.http(name, read)))
            yield
            for twilio in self.twilio:
                await twilio.close()

    def http(self, name: str, read: Reader) -> Callable[[ASGIApp, str, int, Stop], Coroutine[Any, Any, None]]:
        serve = over_http2(self.certificate)

        async def counted(app: ASGIApp, host: str, port: int, stop: Stop) -> None:
            await serve(self.arrivals.counting(app, name, read), host, port, stop)

        return counted

    def fail(self, share: float) -> None:
        """From now on, so much of what comes."""
        self.mail.share = share
        for odds in self.odds.values():
            odds.share = share

    def struck(self) -> Counter[str]:
        """Faults by kind."""
        return sum((odds.struck for odds in self.odds.values()), self.mail.struck + self.away)

    async def leave(self, share: float) -> None:
        """At times nobody listens, by turns: a kernel's own refusal. Until cancelled."""
        for _, double, _ in itertools.cycle(self.each()):
            await asyncio.sleep(AWAY_SECONDS * (1 - share) / share / len(self.each()))
            self.away["connection refused"] += 1
            await double.front.away(AWAY_SECONDS)

    def secrets(self) -> dict[str, str]:
        """For the worker's environment."""
        return {
            "FCM_CREDENTIALS": self.fcm.credentials,
            "APNS_KEY": self.apns.team.p8,
            "SENDGRID_API_KEY": KEY,
            "SMTP_URL": f"smtp://{HOST}:{self.mail.port}?tls=none",
            "TWILIO_ACCOUNT_SID": SID,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "HOOK_SECRET": self.hook_secret,
            "SSL_CERT_FILE": str(self.certificate.chain),
        }

    def configs(self) -> dict[str, dict[str, Any]]:
        """Of the channels, as rows."""
        ca, team = str(self.certificate.chain), self.apns.team
        login = {"account_sid": "env:TWILIO_ACCOUNT_SID", "auth_token": "env:TWILIO_AUTH_TOKEN"}
        texts = [
            {"type": "twilio", "name": name, "from": "+15005550006", "url": twilio.double.url} | login
            for name, twilio in zip(("twilio", "twilio-b"), self.twilio, strict=True)
        ]
        fcm = {"type": "fcm", "credentials": "env:FCM_CREDENTIALS", "url": self.fcm.double.url, "ca": ca}
        apns = {
            "type": "apns",
            "key": "env:APNS_KEY",
            "key_id": team.key_id,
            "team_id": team.team_id,
            "topic": team.topic,
            "url": self.apns.double.url,
            "ca": ca,
        }
        return {
            "email": self.email("sendgrid", "smtp"),
            "sms": {"providers": texts},
            "push": {"providers": [fcm, apns]},
            "webhook": {"secrets": ["env:HOOK_SECRET"], "timeout_seconds": HOOK_SECONDS},
        }

    def email(self, *order: str, batch: int = 20) -> dict[str, Any]:
        """The e-mail channel, its providers in this order. The bounce address tells the mail server whose letter it
        is. `batch`: letters in one request of SendGrid's."""
        url, ca = self.sendgrid.double.url, str(self.certificate.chain)
        parts = {
            "sendgrid": {
                "type": "sendgrid",
                "key": "env:SENDGRID_API_KEY",
                "url": url,
                "ca": ca,
                "batch": batch,
            },
            "smtp": {"type": "smtp", "url": "env:SMTP_URL"},
        }
        return {
            "from": FROM,
            "bounce_address": "bounce@bounces.example.com",
            "providers": [parts[name] for name in order],
        }


@dataclass(slots=True)
class Ground:
    """A run's servers, its database and its doubles."""

    servers: Servers
    database: Database
    doubles: Doubles
    relay: Service = field(init=False)
    workers: list[Service] = field(default_factory=list)

    async def configure(self, channel: str, config: dict[str, Any]) -> None:
        async with self.servers.admin(self.database.name) as conn:
            await conn.execute(
                "UPDATE notify.channels SET config = $2 WHERE name = $1", channel, json.dumps(config)
            )

    async def prepare(self) -> None:
        """Recipients; and mail that nobody knows the fate of is held for a person, so that this state is seen, too."""
        for channel, config in self.doubles.configs().items():
            await self.configure(channel, config)
        async with self.servers.admin(self.database.name) as conn:
            await conn.execute("UPDATE notify.channels SET on_unknown = 'hold' WHERE name = 'email'")
            for statement in PEOPLE_SQL.read_text().split(";\n"):
                if statement.strip():
                    arguments = [PEOPLE, self.doubles.receiver.double.url][: 1 + ("$2" in statement)]
                    await conn.execute(statement, *arguments)

    def processes(self, **more: str) -> list[Any]:
        env = SETTINGS | self.doubles.secrets() | more
        started = [service("relay", "relay", servers=self.servers, database=self.database)]
        return started + [
            service(f"worker-{n}", "worker", servers=self.servers, database=self.database, **env)
            for n in range(WORKERS)
        ]


@asynccontextmanager
async def ground(folder: Path) -> AsyncIterator[Ground]:
    """All of it, up and ready; nothing fails yet."""
    async with bare_ground(folder) as made, all_of(*made.processes()) as started:
        made.relay, *made.workers = started
        yield made


@asynccontextmanager
async def bare_ground(folder: Path) -> AsyncIterator[Ground]:
    """Without processes of the service."""
    servers = Servers(folder / "servers")
    await servers.start()
    try:
        doubles = Doubles(await asyncio.to_thread(Certificate.kept, folder))
        async with servers.fresh() as database, doubles.up():
            made = Ground(servers, database, doubles)
            await made.prepare()
            yield made
    finally:
        await servers.stop()
