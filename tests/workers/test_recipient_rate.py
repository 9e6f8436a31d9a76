"""How much one recipient is sent in a time, by e-mail and at a webhook's endpoint."""

import pytest

from tests.workers.conftest import Road
from tests.workers.hooks import ALLOW, SECRET, lead, receiver
from tests.workers.mail import MailServer

LIMIT = "1/minute"


async def test_an_address_is_one_recipient_whoever_has_it(road: Road, mail: MailServer) -> None:
    await road.admin.execute(
        """UPDATE notify.channels SET config = config || '{"recipient_rate": "1/minute"}' WHERE name = 'email'"""
    )
    await road.recipient()
    await road.recipient("bob", "Ada@Example.com")
    await road.recipient("eve", "eve@example.com")
    async with road.worker("email"):
        await road.until(await road.send("email"), "delivered", "email")
        second = await road.send("email", user_id="bob")
        await road.until(second, "deferred", "email")
        await road.until(await road.send("email", user_id="eve"), "delivered", "email")
    [(_, detail)] = await road.events(second)
    assert detail["error_class"] == "rate_limited"
    assert len(mail.mails) == 2


async def test_an_endpoint_is_one_recipient(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    async with receiver() as far, road.worker("webhook", **ALLOW):
        await lead(road, None, recipient_rate=LIMIT)
        await road.admin.executemany(
            "INSERT INTO notify.webhook_endpoints (channel, user_id, url) VALUES ('webhook', $1, $2)",
            [("ada", f"{far.double.url}/ada"), ("bob", f"{far.double.url}/bob")],
        )
        await road.until(await road.send("webhook"), "delivered", "webhook")
        second = await road.send("webhook")
        await road.until(second, "deferred", "webhook")
        await road.until(await road.send("webhook", user_id="bob"), "delivered", "webhook")
        assert far.double.box.total == 2
    [(_, detail)] = await road.events(second)
    assert detail["error_class"] == "rate_limited"


async def test_a_retry_is_not_counted_again(road: Road, mail: MailServer) -> None:
    await road.admin.execute(
        """UPDATE notify.channels SET config = config || '{"recipient_rate": "1/minute"}' WHERE name = 'email'"""
    )
    await road.recipient()
    mail.data = ["451 4.3.0 busy"]
    async with road.worker("email"):
        sent = await road.send("email")
        await road.until(sent, "retrying", "email")
        await road.admin.execute("UPDATE notify.scheduled SET due_at = now()")
        await road.promote()
        await road.until(sent, "delivered", "email")
