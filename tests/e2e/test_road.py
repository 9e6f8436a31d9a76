"""One row in, one notification out."""

import asyncio
import json
from typing import Any

from db.pool import Connection
from tests.e2e.conftest import Service

BOTH = ["inapp", "email"]
INSERT = (
    "INSERT INTO notify.outbox (notification_id, event_type, user_id, channels, payload)"
    " VALUES ($1, 'order.paid', 'alice', '{inapp,email}', $2)"
)


def words(seen: dict[str, Any]) -> str:
    """The timeline as text."""
    return json.dumps(seen["timeline"])


async def test_a_post_reaches_the_open_browser_and_the_mailbox(service: Service) -> None:
    alice = await service.browser("alice")
    sent = await service.send(user_id="alice", channels=BOTH, payload={"title": "Paid", "body": "Thank you"})
    await alice.has(1)
    assert [item["notification_id"] for item in alice.items] == [sent]
    assert alice.items[0]["payload"] == {"title": "Paid", "body": "Thank you"}
    seen = await service.settled(sent)
    assert seen["status"] == "delivered"
    assert service.mail.message_ids == [f"<{sent}.email@localhost>"]
    [message] = service.mail.mails
    assert (message["To"], message["Subject"]) == ("alice@example.com", "Paid")
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert "Thank you" in text.get_content()
    assert html is not None
    assert "Thank you</p>" in html.get_content()


async def test_sql_inside_rollback_sends_nothing_and_inside_commit_once(
    service: Service, producer: Connection
) -> None:
    alice = await service.browser("alice")
    first, second = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"
    transaction = producer.transaction()
    await transaction.start()
    await producer.execute(INSERT, first, '{"title": "never"}')
    await transaction.rollback()
    async with producer.transaction():
        await producer.execute(INSERT, second, '{"title": "once"}')
    await service.settled(second)
    await alice.has(1)
    assert [item["payload"]["title"] for item in alice.items] == ["once"]
    assert len(service.mail.message_ids) == 1
    assert (await service.http.get(f"/v1/notifications/{first}")).status_code == 404


async def test_a_browser_that_was_away_gets_what_it_missed(service: Service) -> None:
    alice = await service.browser("alice")
    await service.settled(await service.send(user_id="alice", payload={"n": 1}))
    await alice.has(1)
    cursor = alice.items[-1]["seq"]
    await alice.ws.close()
    for number in (2, 3):
        await service.settled(await service.send(user_id="alice", payload={"n": number}))
    again = await service.browser("alice", cursor)
    await again.has(2)
    assert [item["payload"]["n"] for item in again.items] == [2, 3]


async def test_a_repeat_of_a_key_is_one_notification(service: Service) -> None:
    ids = await asyncio.gather(
        *(service.send(user_id="alice", channels=BOTH, dedup_key="order:1:paid") for _ in range(8))
    )
    assert len(set(ids)) == 1
    await service.settled(ids[0])
    assert len(service.mail.message_ids) == 1


async def test_a_preference_and_a_switch_are_honoured_when_sending_and_the_timeline_says_so(
    service: Service, admin: Connection
) -> None:
    await admin.execute(
        "INSERT INTO notify.user_channel_prefs (user_id, channel, enabled) VALUES ('alice', 'email', false)"
    )
    seen = await service.settled(await service.send(user_id="alice", channels=BOTH))
    assert {d["channel"]: d["status"] for d in seen["deliveries"]} == {
        "inapp": "delivered",
        "email": "suppressed",
    }
    assert "recipient" in words(seen)
    await admin.execute("DELETE FROM notify.user_channel_prefs")
    await admin.execute("UPDATE notify.channels SET enabled = false WHERE name = 'email'")
    seen = await service.settled(await service.send(user_id="alice", channels=["email"]))
    assert seen["deliveries"][0]["status"] == "suppressed"
    assert "switched off" in words(seen)
    assert service.mail.message_ids == []


async def test_a_missing_address_is_a_clear_end(service: Service) -> None:
    seen = await service.settled(await service.send(user_id="nobody", channels=["email"]))
    assert seen["deliveries"][0]["status"] == "failed"
    assert "no_contact" in words(seen)


async def test_a_template_that_raises_harms_only_itself(service: Service, admin: Connection) -> None:
    await admin.execute(
        "INSERT INTO notify.templates (name, channel, subject, body_text) VALUES"
        " ('broken', 'email', 'x', '{{ 1 / 0 }}'), ('endless', 'email', 'x',"
        " '{% for i in range(10**9) %}{% for j in range(10**9) %}{{ i }}{% endfor %}{% endfor %}')"
    )
    broken = await service.send(user_id="alice", channels=["email"], template_name="broken")
    endless = await service.send(user_id="alice", channels=["email"], template_name="endless")
    fine = await service.send(user_id="alice", channels=["email"])
    assert (await service.settled(fine))["status"] == "delivered"
    for bad in (broken, endless):
        seen = await service.settled(bad)
        assert seen["deliveries"][0]["status"] == "failed"
        assert "template" in words(seen)


async def test_a_template_that_does_not_exist_is_the_producers_error(service: Service) -> None:
    answer = await service.http.post(
        "/v1/notifications", json={"event_type": "a", "user_id": "alice", "template_name": "nope"}
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == ["template_name"]


async def test_a_mail_server_that_is_down_delays_only_the_mail(service: Service, admin: Connection) -> None:
    service.mail.data = ["451 4.3.0 Not now"] * 3
    alice = await service.browser("alice")
    sent = await service.send(user_id="alice", channels=BOTH)
    await alice.has(1)
    seen = await service.settled(sent)
    assert seen["status"] == "delivered"
    assert words(seen).count("retrying") == 3
    assert len(service.mail.message_ids) == 1


async def test_what_is_due_later_comes_later(service: Service, admin: Connection) -> None:
    due = await admin.fetchval("SELECT (clock_timestamp() + interval '0.7 s')")
    sent = await service.send(user_id="alice", channels=BOTH, deliver_at=due.isoformat())
    assert (await service.see(sent))["status"] == "scheduled"
    assert service.mail.message_ids == []
    await service.settled(sent)
    assert await admin.fetchval("SELECT min(at) >= $1 FROM notify.delivery_events", due)


async def test_redis_is_flushed_in_the_middle(service: Service, redis: Any) -> None:
    sent = []
    for number in range(60):
        sent.append(await service.send(user_id="alice", channels=BOTH, payload={"n": number}))
        if number % 20 == 10:
            await redis.flushdb()
    for notification_id in sent:
        assert (await service.settled(notification_id))["status"] == "delivered"
    assert sorted(service.mail.message_ids) == sorted(f"<{each}.email@localhost>" for each in sent)
    alice = await service.browser("alice", 0)
    await alice.has(60)
    assert sorted(item["payload"]["n"] for item in alice.items) == list(range(60))
