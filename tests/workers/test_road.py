"""From the stream to the recipient: the in-app channel and e-mail, whole workers on real servers."""

import asyncio
import json

from outbox.inbox import InboxChange
from tests.hints import hints
from tests.workers.conftest import Road
from tests.workers.mail import MailServer


async def test_inapp_reaches_the_inbox(road: Road) -> None:
    async with hints(road.settings.redis, road.settings.keys.user("ada")) as heard:
        notification_id = await road.send()
        async with road.worker():
            await road.until(notification_id, "delivered")
            await road.until_empty()
        async with asyncio.timeout(60):
            hint = await heard()
    change = InboxChange.model_validate_json(hint)
    assert hint.decode() == change.model_dump_json(exclude={"traceparent"}), "written as the model would"
    assert (change.version, change.last_seq, change.unread) == (1, 1, 1)
    assert change.item is not None
    assert change.item.payload == {"title": "Paid", "body": "Thank you"}
    row = await road.admin.fetchrow("SELECT * FROM notify.inbox")
    assert row is not None
    assert (row["user_id"], row["seq"], row["notification_id"]) == ("ada", 1, notification_id)
    assert await road.events(notification_id) == [("delivered", {})]


async def test_seq_is_dense_and_in_the_order_of_the_stream(road: Road) -> None:
    sent = [await road.send(user_id=f"user-{number % 3}") for number in range(60)]
    async with road.worker():
        await road.until_empty()
    for user in range(3):
        rows = await road.admin.fetch(
            "SELECT * FROM notify.inbox WHERE user_id = $1 ORDER BY seq", f"user-{user}"
        )
        assert [row["seq"] for row in rows] == list(range(1, 21))
        assert [row["notification_id"] for row in rows] == sent[user::3]
        counters = await road.admin.fetchrow(
            "SELECT * FROM notify.inbox_counters WHERE user_id = $1", f"user-{user}"
        )
        assert counters is not None
        assert (counters["last_seq"], counters["unread"], counters["version"]) == (20, 20, 20)


async def test_mail_reaches_the_server(road: Road, mail: MailServer) -> None:
    await road.recipient()
    notification_id = await road.send(
        "email", payload={"title": "Paid", "url": "https://example.com/?a=1&b=<2>"}
    )
    async with road.worker("email"):
        await road.until(notification_id, "delivered", "email")
        await road.until_empty("email")
    (message,) = mail.mails
    assert message["Message-ID"] == f"<{notification_id}.email@localhost>"
    assert message["Subject"] == "Paid"
    assert message["To"] == "ada@example.com"
    assert message["From"] == "Outbox <notifications@localhost>"
    assert message["Auto-Submitted"] == "auto-generated"
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert "https://example.com/?a=1&b=<2>" in text.get_content()
    assert html is not None
    assert "a=1&amp;b=&lt;2&gt;" in html.get_content()
    row = await road.delivery(notification_id, "email")
    assert row is not None
    assert (row["attempts"], row["provider_message_id"]) == (1, message["Message-ID"])
    assert json.loads(await road.admin.fetchval("SELECT detail FROM notify.delivery_events")) == {
        "provider": "smtp",
        "provider_message_id": message["Message-ID"],
        "sends": 1,
    }


async def test_connections_are_kept(road: Road, mail: MailServer) -> None:
    await road.recipient()
    async with road.worker("email", worker_concurrency=1):
        for _ in range(5):
            notification_id = await road.send("email")
            await road.until(notification_id, "delivered", "email")
    assert len(mail.mails) == 5
    assert mail.connections == 1


async def test_both_channels_in_one_process(road: Road, mail: MailServer) -> None:
    await road.recipient()
    both = await road.notify(channels=["inapp", "email"])
    await asyncio.gather(road.redis.ping())
    await road.entry(both, "inapp")
    await road.entry(both, "email")
    async with road.worker("inapp", "email"):
        await road.until(both, "delivered", "inapp")
        await road.until(both, "delivered", "email")
