"""E-mail through a real mail server: Postfix from Debian's package, between our worker and the recipients' servers.

Not found by pytest on its own, because it needs a package that most machines lack and root to run it: `make mta`
installs both where they are missing, and runs this. Nothing here is skipped.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from outbox.api.main import main
from outbox.local.ports import LOOPBACK, any_free
from outbox.service import Stop
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.workers.conftest import Road, eventually
from tests.workers.mail import MailServer, mail_server
from tests.workers.postfix import postfix
from tests.workers.test_seal import ED25519, ED_DNS, RSA, RSA_DNS, pem, verified

GONE = "550 5.1.1 no such user"
FULL = "552 5.2.2 mailbox full"
BUSY = "451 4.3.2 come back later"
NOT_WELCOME = "554 5.7.1 not from you"


@dataclass(slots=True)
class Api:
    """The API on its port, for Postfix's pipe; it may go away and come back."""

    settings: Settings
    stop: Stop = field(default_factory=Stop)
    task: "asyncio.Task[None] | None" = None

    def start(self) -> None:
        self.stop = Stop()
        self.task = asyncio.create_task(main(self.settings, self.stop))

    async def end(self) -> None:
        self.stop.ask()
        if self.task:
            await self.task


@dataclass(frozen=True, slots=True)
class Ground:
    """`far`: the recipients' mail server, behind Postfix."""

    road: Road
    far: MailServer
    api: Api
    home: Path

    async def send(self, address: str) -> UUID:
        """To a user of that name."""
        await self.road.recipient(address, address)
        return await self.road.send("email", user_id=address)

    async def suppressed(self) -> list[str]:
        rows = await self.road.admin.fetch("SELECT address FROM notify.suppressions")
        return [row["address"] for row in rows]

    async def until_told(self, notification_id: UUID, event: str) -> dict[str, Any]:
        """The event's detail, once the timeline has it."""

        async def told() -> bool:
            return event in dict(await self.road.events(notification_id))

        await eventually(told, f"the timeline tells {event}")
        return dict(await self.road.events(notification_id))[event]


def config() -> str:
    keys = [("s1", "env:DKIM_RSA"), ("s2", "env:DKIM_ED")]
    return json.dumps(
        {
            "from": "Shop <no-reply@shop.example>",
            "smtp_url": "env:SMTP_URL",
            "bounce_address": "bounce@bounces.test",
            "dkim": [{"selector": selector, "domain": "shop.example", "key": key} for selector, key in keys],
        }
    )


@pytest.fixture
async def ground(road: Road, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ground]:
    """A worker behind it all, a real API for the pipe, and Postfix between them and the far side."""
    monkeypatch.setenv("DKIM_RSA", pem(RSA))
    monkeypatch.setenv("DKIM_ED", pem(ED25519))
    await road.admin.execute("UPDATE notify.channels SET config = $1 WHERE name = 'email'", config())
    port = any_free()
    token = issue(road.settings, "mx", Scope.BOUNCES, timedelta(hours=1))
    api = Api(road.settings.model_copy(update={"api_port": port}))
    api.start()
    try:
        async with (
            mail_server() as far,
            postfix({"far.test": far.port}, f"http://{LOOPBACK}:{port}", token) as mta,
        ):
            monkeypatch.setenv("SMTP_URL", mta.url)
            async with road.worker("email", api_url="https://notify.example.com", worker_lease=60):
                yield Ground(road, far, api, mta.home)
    finally:
        await api.end()


async def test_it_arrives_and_the_signatures_still_hold(ground: Ground) -> None:
    sent = await ground.send("ada@far.test")
    await ground.road.until(sent, "delivered", "email")
    await asyncio.wait_for(ground.far.arrived.wait(), 20)
    [content] = ground.far.contents
    assert content.startswith(b"Received: ")
    assert verified(content, 0, RSA_DNS)
    assert verified(content, 1, ED_DNS)
    assert b"List-Unsubscribe: <https://notify.example.com/v1/unsubscribe/" in content
    assert ground.far.senders[0].startswith("bounce+")


async def test_a_hard_bounce_comes_back_and_suppresses(ground: Ground) -> None:
    ground.far.rcpt.append(GONE)
    first = await ground.send("eve@far.test")
    assert await ground.until_told(first, "bounced") == {"status": "5.1.1", "provider": "rfc3464"}
    assert await ground.suppressed() == ["eve@far.test"]
    assert await ground.road.status(first, "email") == "delivered"  # to Postfix it was
    second = await ground.road.send("email", user_id="eve@far.test")
    await ground.road.until(second, "suppressed", "email")
    assert ground.far.mails == []


@pytest.mark.parametrize(("answer", "status"), [(FULL, "5.2.2"), (NOT_WELCOME, "5.7.1")])
async def test_a_bounce_that_is_not_about_the_address(ground: Ground, answer: str, status: str) -> None:
    ground.far.rcpt.append(answer)
    sent = await ground.send("ada@far.test")
    assert (await ground.until_told(sent, "bounced"))["status"] == status
    assert await ground.suppressed() == []


async def test_a_delay_is_told_and_the_mail_arrives_in_the_end(ground: Ground) -> None:
    ground.far.rcpt += [BUSY] * 3
    sent = await ground.send("ada@far.test")
    assert (await ground.until_told(sent, "delayed"))["status"] == "4.3.2"
    await asyncio.wait_for(ground.far.arrived.wait(), 60)
    assert await ground.suppressed() == []


async def test_what_postfix_refuses_itself(ground: Ground) -> None:
    refused = await ground.send("ada@refused.test")
    await ground.road.until(refused, "failed", "email")
    assert await ground.suppressed() == ["ada@refused.test"]
    unknown = await ground.send("ada@unknown.test")
    await ground.road.until(unknown, "failed", "email")
    assert sorted(await ground.suppressed()) == ["ada@refused.test", "ada@unknown.test"]


async def test_many_at_once(ground: Ground) -> None:
    sent = [await ground.send(f"u{number}@far.test") for number in range(100)]
    for each in sent:
        await ground.road.until(each, "delivered", "email")

    async def all_there() -> bool:
        return len(ground.far.mails) == 100

    await eventually(all_there, "a hundred mails have arrived")
    assert len(set(ground.far.message_ids)) == 100


async def test_a_bounce_waits_while_the_api_is_away(ground: Ground) -> None:
    await ground.api.end()
    ground.far.rcpt.append(GONE)
    sent = await ground.send("eve@far.test")

    async def kept() -> bool:
        return "relay=bounced" in (log := (ground.home / "mail.log").read_text()) and "status=deferred" in log

    await eventually(kept, "Postfix keeps the report for later")
    ground.api.start()
    assert (await ground.until_told(sent, "bounced"))["status"] == "5.1.1"
    assert await ground.suppressed() == ["eve@far.test"]
