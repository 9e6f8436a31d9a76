"""The e-mail channel as a whole: bounces suppress, links unsubscribe, batches travel."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from db.pool import Pool
from outbox import verp
from outbox.api.app import create_app
from outbox.local.doubles.faults import Kind
from outbox.local.doubles.sendgrid import KEY, SendGridDouble
from outbox.local.doubles.sendgrid_events import Signer, event
from outbox.local.doubles.serving import running
from outbox.probes import Health
from outbox.settings import Settings
from tests.workers.conftest import Road, eventually
from tests.workers.mail import MailServer

FROM = {"from": "Shop <no-reply@shop.example>"}
OUTSIDE = "https://notify.example.com"
SIGNER = Signer()


async def configure(road: Road, **config: Any) -> None:
    smtp = {} if "providers" in config else {"smtp_url": "env:SMTP_URL"}
    await road.admin.execute(
        "UPDATE notify.channels SET config = $1 WHERE name = 'email'", json.dumps(FROM | smtp | config)
    )


@pytest.fixture
async def api(settings: Settings, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    """The API as strangers reach it."""
    keyed = settings.model_copy(update={"sendgrid_webhook_keys": [SIGNER.verification_key]})
    transport = httpx.ASGITransport(create_app(keyed, pool, Health()))
    async with httpx.AsyncClient(transport=transport, base_url=OUTSIDE) as client:
        yield client


@pytest.fixture
async def sendgrid(road: Road, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SendGridDouble]:
    monkeypatch.setenv("SENDGRID_API_KEY", KEY)
    double = SendGridDouble()
    async with running(double.double):
        part = {"type": "sendgrid", "key": "env:SENDGRID_API_KEY", "url": double.double.url}
        await configure(road, providers=[part])
        yield double


async def suppressions(road: Road) -> dict[str, str]:
    rows = await road.admin.fetch("SELECT address, reason FROM notify.suppressions WHERE channel = 'email'")
    return {row["address"]: row["reason"] for row in rows}


async def test_an_address_that_is_gone_is_not_tried_again(road: Road, mail: MailServer) -> None:
    mail.rcpt.append("550 5.1.1 no such user")
    await road.recipient(email="Ada@example.com")
    first = await road.send("email")
    async with road.worker("email"):
        await road.until(first, "failed", "email")
        assert await suppressions(road) == {"ada@example.com": "hard bounce"}
        second = await road.send("email")
        await road.until(second, "suppressed", "email")
    assert mail.mails == []
    [(_, detail)] = await road.events(second)
    assert detail == {"reason": "the address is on the suppression list: hard bounce"}


@pytest.mark.parametrize("answer", ["550 5.7.1 blocked", "552 5.2.2 mailbox full", "550 5.2.2 mailbox full"])
async def test_a_refusal_that_is_not_about_the_address_suppresses_nobody(
    road: Road, mail: MailServer, answer: str
) -> None:
    mail.rcpt.append(answer)
    await road.recipient()
    sent = await road.send("email")
    async with road.worker("email"):
        await road.until(sent, "failed", "email")
    assert await suppressions(road) == {}


async def test_one_click_in_a_mail_program(road: Road, mail: MailServer, api: httpx.AsyncClient) -> None:
    await configure(road)
    await road.recipient()
    first = await road.send("email")
    async with road.worker("email", api_url=OUTSIDE):
        await road.until(first, "delivered", "email")
        [arrived] = mail.contents
        found = re.search(rb"^List-Unsubscribe: <(\S+)>\r$", arrived, re.MULTILINE)
        assert found is not None
        assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in arrived
        clicked = await api.post(found[1].decode(), data={"List-Unsubscribe": "One-Click"})
        assert clicked.status_code == 200
        second = await road.send("email")
        await road.until(second, "suppressed", "email")
        other = await road.send("email", event_type="order.shipped")
        await road.until(other, "delivered", "email")
    assert [name for name, _ in await road.events(first)] == ["delivered", "unsubscribed"]


async def test_urgent_mail_offers_nothing_and_a_template_may_offer_it_itself(
    road: Road, mail: MailServer
) -> None:
    await road.admin.execute(
        "INSERT INTO notify.templates (name, channel, subject, body_text) VALUES "
        "('offer', 'email', 's', '[{{ unsubscribe_url }}]')"
    )
    await road.recipient()
    normal = await road.send("email", template_name="offer")
    async with road.worker("email", api_url=OUTSIDE):
        await road.until(normal, "delivered", "email")
        urgent = await road.notify("email", template_name="offer", priority="urgent")
        await road.entry(urgent, "email")
        await road.until(urgent, "delivered", "email")
    first, second = (content.decode() for content in mail.contents)
    link = re.search(r"^List-Unsubscribe: <(\S+)>\r$", first, re.MULTILINE)
    assert link is not None
    assert link[1] in re.sub(r"=\r\n", "", first).replace("=3D", "=").partition("\r\n\r\n")[2]
    assert "List-Unsubscribe" not in second
    assert "[]" in second


async def test_bounces_come_back_to_an_address_of_their_own(road: Road, mail: MailServer) -> None:
    await configure(road, bounce_address="bounce@bounces.shop.example")
    await road.recipient()
    sent = await road.send("email")
    async with road.worker("email"):
        await road.until(sent, "delivered", "email")
    token = verp.find(mail.senders[0])
    assert token is not None
    assert token.notification_id == sent
    assert verp.holds(road.settings.link_key("bounce"), token, "email", "ada@example.com")
    assert mail.mails[0]["From"] == "Shop <no-reply@shop.example>"


async def test_many_mails_are_few_requests(road: Road, sendgrid: SendGridDouble) -> None:
    await road.admin.execute(
        "INSERT INTO notify.recipients (user_id, email) SELECT 'u' || n, 'u' || n || '@example.com' "
        "FROM generate_series(1, 200) n"
    )
    sent = {
        f"u{n}": await road.send("email", user_id=f"u{n}", payload={"title": f"No. {n}"})
        for n in range(1, 201)
    }
    async with road.worker("email", worker_lease=60):
        await road.until_empty("email")
    assert {await road.status(each, "email") for each in sent.values()} == {"delivered"}
    arrived = {each.to: each for each in sendgrid.double.box.messages}
    assert len(arrived) == sendgrid.double.box.total == 200
    assert all(arrived[f"u{n}@example.com"].title == f"No. {n}" for n in range(1, 201))
    assert sendgrid.requests <= 40, "mails did not travel together"
    row = await road.delivery(sent["u7"], "email")
    assert row is not None
    assert row["provider"] == "sendgrid"
    assert arrived["u7@example.com"].id.startswith(row["provider_message_id"])


async def test_a_wrong_key_makes_no_dead_letters(
    road: Road, sendgrid: SendGridDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDGRID_API_KEY", "SG.revoked")
    await road.recipient()
    sent = await road.send("email")
    async with road.worker("email", retry_cap=3600):
        await road.until(sent, "retrying", "email")
    [(_, detail)] = await road.events(sent)
    assert detail["error_class"] == "auth"
    assert "authorization grant is invalid" in detail["reason"]
    assert detail["retry_in_seconds"] == timedelta(minutes=15).total_seconds()
    assert await road.admin.fetchval("SELECT count(*) FROM notify.notifications_failed") == 0


async def test_no_answer_leaves_the_whole_batch_unknown(road: Road, sendgrid: SendGridDouble) -> None:
    await road.admin.execute("UPDATE notify.channels SET on_unknown = 'hold' WHERE name = 'email'")
    sendgrid.double.menu.order(Kind.RESET, taken=True)
    await road.recipient()
    sent = await road.send("email")
    async with road.worker("email"):
        await road.until(sent, "unknown", "email")
    assert sendgrid.double.box.total == 1


async def test_a_bounce_told_later_suppresses(
    road: Road, sendgrid: SendGridDouble, api: httpx.AsyncClient
) -> None:
    await road.recipient()
    first = await road.send("email")
    async with road.worker("email"):
        [arrived] = await asyncio.wait_for(sendgrid.double.box.wait(1), 60)
        headers, body = SIGNER.request([event("bounce", arrived, type="bounce", status="5.1.1")])
        answer = await api.post("/v1/callbacks/sendgrid", content=body, headers=headers)
        assert answer.status_code == 204
        second = await road.send("email")
        await road.until(second, "suppressed", "email")
        await road.until(first, "delivered", "email")
    assert await suppressions(road) == {"ada@example.com": "hard bounce"}

    async def told() -> bool:
        return {name for name, _ in await road.events(first)} == {"delivered", "bounced"}

    await eventually(told, "the timeline tells of the bounce")
