"""Frames become events; the inbox live against a real gateway."""

import json
from contextlib import aclosing
from typing import Any

import pytest

from gateway.protocol import Close, Closing
from outbox.client import AsyncClient, Event, Marked, New, Reset, Synced, UnauthenticatedError
from outbox.client.live import Session, asked_pause, refusal
from tests.gateway.harness import Gate, Inbox

NOW = "2026-01-01T00:00:00Z"


def take(session: Session, **frame: Any) -> Event | None:
    return session.take(json.dumps(frame))


def item(seq: int, unread: int, version: int) -> dict[str, Any]:
    named = {"notification_id": "01890a5d-ac96-774b-bcce-b302099a8057", "event_type": "a", "payload": {}}
    moments = {"created_at": NOW, "delivered_at": NOW}
    return {"type": "notification", "seq": seq, "unread": unread, "version": version} | named | moments


def test_a_count_of_an_older_version_is_none() -> None:
    session = Session(None)
    assert take(session, type="synced", last_seq=9, unread=4, version=7) == Synced(4, 9)
    old = take(session, type="changed", read=[1], archived=[], unread=9, version=6)
    assert old == Marked(unread=4, read=(1,))


def test_an_item_is_told_once() -> None:
    session = Session(None)
    first = take(session, **item(1, 1, 1))
    assert isinstance(first, New)
    assert take(session, **item(1, 1, 1)) is None
    assert json.loads(session.auth("t"))["cursor"] == 1


def test_another_inbox_begins_anew() -> None:
    session = Session(9, unread=5, version=50)
    told = take(session, type="welcome", user_id="a", unread=1, version=2, last_seq=1, resumed=False)
    assert (told, session.cursor) == (Reset(), None)
    event = take(session, **item(1, 1, 2))
    assert isinstance(event, New)
    assert event.unread == 1


def test_what_is_unknown_is_passed_over() -> None:
    assert take(Session(None), type="weather") is None


@pytest.mark.parametrize(
    ("code", "comes_back"),
    [(1006, True), (1012, True), (4419, True), (4508, True), (4401, False), (4400, False)],
)
def test_close_codes(code: int, comes_back: bool) -> None:
    assert (refusal(code, "") is None) is comes_back


def test_the_pause_that_a_restart_asks_for() -> None:
    assert asked_pause(1012, "retry_ms=1500") == 1.5
    assert asked_pause(1012, "bye") is None
    assert asked_pause(1006, "retry_ms=1500") is None


async def test_what_was_missed_and_what_is_live(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("ada", 3)
    async with (
        AsyncClient("http://127.0.0.1:1", gate.token("ada"), f"http://{gate.address}") as client,
        aclosing(client.events(cursor=1)) as events,
    ):
        seen = [await anext(events) for _ in range(3)]
        assert [event.item.seq for event in seen if isinstance(event, New)] == [2, 3]
        assert seen[-1] == Synced(unread=3, cursor=3)
        await inbox.deliver("ada", title="Live")
        live = await anext(events)
        assert isinstance(live, New)
        assert (live.item.payload, live.unread) == ({"title": "Live"}, 4)


async def test_it_comes_back_with_its_cursor(gate: Gate, inbox: Inbox) -> None:
    async with (
        AsyncClient("http://api", gate.token("ada"), f"http://{gate.address}") as client,
        aclosing(client.events()) as events,
    ):
        assert await anext(events) == Synced(0, 0)
        await inbox.commit("ada")  # without a hint: only the next catch-up brings it
        for socket in list(gate.board._lines["ada"]):
            socket.close(Closing(Close.RESTARTING, "retry_ms=1"))
        event = await anext(events)
        assert isinstance(event, New)
        assert event.cursor == 1
        assert await anext(events) == Synced(1, 1)


async def test_a_token_that_does_not_hold_ends_it(gate: Gate) -> None:
    async with AsyncClient("http://api", "none", f"http://{gate.address}") as client:
        with pytest.raises(UnauthenticatedError):
            await anext(client.events())


async def test_an_expired_token_is_replaced(gate: Gate, inbox: Inbox) -> None:
    tokens = iter([gate.token("ada", seconds=1), gate.token("ada")])
    async with (
        AsyncClient("http://api", lambda: next(tokens), f"http://{gate.address}") as client,
        aclosing(client.events()) as events,
    ):
        assert isinstance(await anext(events), Synced)
        assert isinstance(await anext(events), Synced)  # of the second connection
        await inbox.deliver("ada")
        assert isinstance(await anext(events), New)
