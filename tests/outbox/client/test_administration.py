"""What administrators do, by both clients against the real API."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from db.pool import Connection
from outbox.client import (
    ChangedMeanwhileError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
)
from outbox.tokens import Scope
from tests.outbox.client.conftest import Both, Open, Token

HELLO: dict[str, Any] = {"event_type": "order.paid", "user_id": "ada", "payload": {"title": "Paid"}}
SOURCES = {"subject": "Hello", "body_text": "Hello {{ payload.title }}"}
DEAD = """
INSERT INTO notify.notifications_failed (notification_id, channel, error_class, reason, attempts)
SELECT id, 'email', 'permanent', 'no such mailbox', 1 FROM notify.notifications
"""


@pytest.fixture
async def ops(opened: Open, api_url: str, token: Token) -> AsyncIterator[Both]:
    async with opened(api_url, token("ops", Scope.ADMIN)) as both:
        yield both


async def test_channels(ops: Both) -> None:
    assert {each.name for each in await ops.do(lambda c: c.channels.all())} >= {"inapp", "email", "sms"}
    added = await ops.do(lambda c: c.channels.add("hooks", max_attempts=3))
    assert (added.kind, added.max_attempts, added.enabled) == ("webhook", 3, True)
    with pytest.raises(ConflictError):
        await ops.do(lambda c: c.channels.add("hooks"))
    off = await ops.do(lambda c: c.channels.change("hooks", added.version, enabled=False))
    assert (off.enabled, off.max_attempts) == (False, 3)
    with pytest.raises(ChangedMeanwhileError):
        await ops.do(lambda c: c.channels.change("hooks", added.version, enabled=True))
    await ops.do(lambda c: c.channels.change("hooks", None, enabled=True))
    assert (await ops.do(lambda c: c.channels.get("hooks"))).enabled
    await ops.do(lambda c: c.channels.remove("hooks"))
    with pytest.raises(NotFoundError):
        await ops.do(lambda c: c.channels.get("hooks"))


async def test_templates(ops: Both) -> None:
    first = await ops.do(lambda c: c.templates.publish("email", "hello", **SOURCES))
    assert await ops.do(lambda c: c.templates.publish("email", "hello", **SOURCES)) == first
    second = await ops.do(
        lambda c: c.templates.publish(
            "email", "hello", on_top_of=first.version, body_text="Bye", subject="Bye"
        )
    )
    with pytest.raises(ChangedMeanwhileError):
        await ops.do(lambda c: c.templates.publish("email", "hello", on_top_of=first.version, **SOURCES))
    again = await ops.do(lambda c: c.templates.restore("email", "hello", first.version))
    versions = await ops.do(lambda c: c.templates.versions("email", "hello"))
    assert [each.version for each in versions] == [again.version, second.version, first.version]
    assert "hello" in [each.name for each in await ops.do(lambda c: c.templates.in_force("email"))]
    shown = await ops.do(lambda c: c.templates.preview("email", "hello", {"title": "Paid"}))
    assert (shown.subject, shown.text) == ("Hello", "Hello Paid")
    with pytest.raises(InvalidRequestError, match="line 1"):
        await ops.do(lambda c: c.templates.publish("email", "hello", body_text="{% if %}"))
    sent = await ops.do(lambda c: c.templates.test("email", "hello", "ada@example.org", address=True))
    to_user = await ops.do(lambda c: c.templates.test("email", "hello", "ada"))
    assert sent.id != to_user.id


async def test_dead_letters(ops: Both, both: Both, admin: Connection) -> None:
    made = [await both.do(lambda c: c.notifications.create(**HELLO, channels=["email"])) for _ in range(3)]
    await admin.execute(DEAD)
    page = await ops.do(lambda c: c.dead_letters.page(limit=2, channel="email"))
    rest = await ops.do(lambda c: c.dead_letters.page(page.next_cursor, limit=2, channel="email"))
    letters = [*page.dead_letters, *rest.dead_letters]
    assert {each.notification_id for each in letters} == {each.id for each in made}
    assert rest.next_cursor is None
    counted = await ops.do(lambda c: c.dead_letters.count(error_class="permanent"))
    assert (counted.total, counted.kinds[0].channel) == (3, "email")
    tried = await ops.do(lambda c: c.dead_letters.redrive(channel="email", dry_run=True))
    assert (tried.dry_run, len(tried.dead_letters)) == (True, 3)
    first = letters[0].id
    done = await ops.do(lambda c: c.dead_letters.discard([first]))
    assert [(each.id, each.answer) for each in done.dead_letters] == [(first, "discarded")]
    left = await ops.do(lambda c: c.dead_letters.page())
    closed = await ops.do(lambda c: c.dead_letters.page(closed=True))
    assert (len(left.dead_letters), len(closed.dead_letters)) == (2, 3)
    with pytest.raises(ValueError, match="either ids or a filter"):
        await ops.do(lambda c: c.dead_letters.redrive([first], channel="email"))


async def test_suppressions(ops: Both) -> None:
    added = await ops.do(lambda c: c.suppressions.add("email", "Ada@example.org", "asked us to"))
    assert (added.address, added.reason) == ("ada@example.org", "asked us to")
    await ops.do(lambda c: c.suppressions.add("sms", "+491701234567", "asked us to"))
    first = await ops.do(lambda c: c.suppressions.page(limit=1))
    second = await ops.do(lambda c: c.suppressions.page(first.next_cursor, limit=1))
    assert [each.channel for each in (*first.suppressions, *second.suppressions)] == ["email", "sms"]
    assert (await ops.do(lambda c: c.suppressions.page(address="ADA@example.org"))).suppressions == [added]
    assert await ops.do(lambda c: c.suppressions.remove("email", "ada@example.org")) == added
    assert await ops.do(lambda c: c.suppressions.remove("email", "ada@example.org")) is None


async def test_notifications_are_listed_and_counted(ops: Both, both: Both) -> None:
    made = [await both.do(lambda c: c.notifications.create(**HELLO)) for _ in range(3)]
    first = await both.do(lambda c: c.notifications.page(limit=2, event_type="order.*", payload=True))
    assert [each.id for each in first.notifications] == [made[2].id, made[1].id]
    assert first.notifications[0].payload == HELLO["payload"]
    rest = await both.do(lambda c: c.notifications.page(first.next_cursor, limit=2, event_type="order.*"))
    assert [(each.id, each.payload) for each in rest.notifications] == [(made[0].id, None)]
    counted = await ops.do(lambda c: c.statistics.count(["channel", "day"]))
    assert (counted.notifications, counted.groups[0].channel, counted.total.deliveries) == (3, "inapp", 3)
    assert counted.groups[0].day is not None
    now = await ops.do(lambda c: c.statistics.now())
    assert (now.relay.holder, now.relay.lag_rows) == (None, 3)
    with pytest.raises(ForbiddenError):
        await both.do(lambda c: c.statistics.now())
