"""Both clients against the real API."""

from uuid import UUID, uuid4

import pytest

from db.pool import Connection
from outbox.client import (
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    NotSettledError,
    Options,
    Preference,
    UnauthenticatedError,
)
from outbox.tokens import Scope
from tests.gateway.harness import Inbox
from tests.outbox.client.conftest import Both, Open, Token

HELLO = {"event_type": "order.paid", "user_id": "ada", "payload": {"title": "Käse 🧀"}}


async def test_create_and_look(both: Both) -> None:
    accepted = await both.do(lambda c: c.notifications.create(**HELLO))
    seen = await both.do(lambda c: c.notifications.get(accepted.id))
    assert (seen.id, seen.user_id, seen.payload) == (accepted.id, "ada", HELLO["payload"])
    assert (seen.status, seen.final, accepted.replayed) == ("pending", False, False)


async def test_the_callers_own_key_tells_a_replay(both: Both) -> None:
    first = await both.do(lambda c: c.notifications.create(**HELLO, dedup_key="order:1"))
    again = await both.do(lambda c: c.notifications.create(**HELLO, dedup_key="order:1"))
    assert (first.replayed, again.replayed, again.id) == (False, True, first.id)


async def test_a_batch(both: Both) -> None:
    wanted = [HELLO, HELLO | {"dedup_key": "k"}, HELLO | {"dedup_key": "k"}]
    made = (await both.do(lambda c: c.notifications.create_many(wanted))).notifications
    assert [each.replayed for each in made] == [False, False, True]
    assert made[1].id == made[2].id != made[0].id


async def test_broken_fields_are_named(both: Both) -> None:
    with pytest.raises(InvalidRequestError, match=r"notifications\.1\.event_type") as caught:
        await both.do(lambda c: c.notifications.create_many([HELLO, HELLO | {"event_type": "no spaces"}]))
    assert [each.field for each in caught.value.errors] == ["notifications.1.event_type"]


async def test_cancel(both: Both) -> None:
    accepted = await both.do(lambda c: c.notifications.create(**HELLO))
    canceled = await both.do(lambda c: c.notifications.cancel(accepted.id))
    assert [each.stopped for each in canceled.deliveries] == [True]
    assert (await both.do(lambda c: c.notifications.wait(accepted.id))).status == "canceled"


async def test_waiting_ends(both: Both) -> None:
    accepted = await both.do(lambda c: c.notifications.create(**HELLO))  # there is no worker here
    with pytest.raises(NotSettledError, match=r"still pending after 0\.1 s"):
        await both.do(lambda c: c.notifications.wait(accepted.id, seconds=0.1))


async def test_what_is_not_there(both: Both) -> None:
    with pytest.raises(NotFoundError) as caught:
        await both.do(lambda c: c.notifications.get(uuid4()))
    assert caught.value.kind == "not-found"


async def test_preferences(both: Both) -> None:
    wishes = [Preference(channel="email", event_type="order.*", enabled=False)]
    await both.do(lambda c: c.users.set_preferences("a/b ü", wishes))
    [found] = await both.do(lambda c: c.users.preferences("a/b ü"))
    assert (found.channel, found.event_type, found.enabled) == ("email", "order.*", False)


async def test_devices(both: Both) -> None:
    device = await both.do(lambda c: c.users.register_device("ada", "fcm", "t:1"))
    assert await both.do(lambda c: c.users.devices("ada")) == [device]
    await both.do(lambda c: c.users.remove_device("ada", "t:1"))
    assert await both.do(lambda c: c.users.devices("ada")) == []


async def test_an_inbox(both: Both, inbox: Inbox) -> None:
    await inbox.deliver("a/b", 5)
    page = await both.do(lambda c: c.inbox.page("a/b", limit=2))
    assert ([item.seq for item in page.items], page.unread) == ([5, 4], 5)
    page = await both.do(lambda c: c.inbox.page("a/b", page.next_cursor, limit=9))
    assert ([item.seq for item in page.items], page.next_cursor) == ([3, 2, 1], None)
    state = await both.do(lambda c: c.inbox.mark("a/b", "read", [1, 2]))
    assert (state.changed, state.unread) == (True, 3)
    assert not (await both.do(lambda c: c.inbox.mark("a/b", "read", [1, 2]))).changed
    read = await both.do(lambda c: c.inbox.page("a/b", unread=False))
    assert [item.seq for item in read.items] == [2, 1]
    await both.do(lambda c: c.inbox.mark_all("a/b", "archive", up_to=4))
    count = await both.do(lambda c: c.inbox.count("a/b"))
    assert (count.unread, count.total, count.last_seq) == (1, 5, 5)
    archived = await both.do(lambda c: c.inbox.page("a/b", archived=True))
    assert len(archived.items) == 4


async def test_recipients(both: Both) -> None:
    put = await both.do(lambda c: c.recipients.put("a/b", email="a@example.com", time_zone="Europe/Vienna"))
    assert await both.do(lambda c: c.recipients.get("a/b")) == put
    await both.do(lambda c: c.recipients.remove("a/b"))
    with pytest.raises(NotFoundError):
        await both.do(lambda c: c.recipients.get("a/b"))


async def test_tokens(opened: Open, api_url: str, token: Token) -> None:
    async with opened(api_url, "none") as nobody:
        with pytest.raises(UnauthenticatedError):
            await nobody.do(lambda c: c.notifications.create(**HELLO))
    async with opened(api_url, token("ada", Scope.USER)) as ada:
        assert await ada.do(lambda c: c.users.devices("ada")) == []
        with pytest.raises(ForbiddenError):
            await ada.do(lambda c: c.users.devices("bob"))


async def test_a_token_that_is_a_function_is_asked_each_time(
    opened: Open, api_url: str, token: Token
) -> None:
    given = iter(["stale", token()])
    async with opened(api_url, lambda: next(given)) as both:
        with pytest.raises(UnauthenticatedError):
            await both.do(lambda c: c.notifications.create(**HELLO))
        assert isinstance((await both.do(lambda c: c.notifications.create(**HELLO))).id, UUID)


async def test_the_trace_goes_along(opened: Open, api_url: str, token: Token, admin: Connection) -> None:
    cause = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with opened(api_url, token(), Options(trace=lambda: cause)) as both:
        accepted = await both.do(lambda c: c.notifications.create(**HELLO))
    found = await admin.fetchval("SELECT traceparent FROM notify.notifications WHERE id = $1", accepted.id)
    assert found == cause
