"""Coming and coming back: nothing missed, nothing twice."""

import asyncio

import pytest

from db.pool import Connection
from gateway.session import FIRST, PAGE
from tests.gateway.harness import Gate, Inbox, eventually


async def test_welcome_then_live(gate: Gate, inbox: Inbox) -> None:
    async with gate.client("anna") as client:
        assert await client.next() == {
            "type": "welcome",
            "user_id": "anna",
            "unread": 0,
            "version": 0,
            "last_seq": 0,
            "resumed": False,
        }
        await client.synced()
        await inbox.deliver("anna", 2, title="Paid", amount=7)
        frame = await client.next()
        assert (frame["seq"], frame["unread"], frame["version"]) == (1, 1, 1)
        assert frame["payload"] == {"title": "Paid", "amount": 7}
        await client.has(2)
        assert (client.seqs, client.unread) == ([1, 2], 2)


async def test_without_cursor_the_newest_and_the_counters(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("anna", FIRST + 10)
    async with gate.client("anna") as client:
        await client.synced()
        assert client.seqs == list(range(11, FIRST + 11))
        assert client.unread == FIRST + 10
        assert client.cursor == FIRST + 10


async def test_cursor_of_any_age(gate: Gate, inbox: Inbox) -> None:
    total = PAGE * 3  # the last page is a full one
    await inbox.deliver("anna", total)
    for cursor in (0, 1, PAGE, total - 1, total):
        async with gate.client("anna", cursor) as client:
            welcome = await client.next()
            assert welcome["resumed"] is True
            await client.synced()
            assert client.seqs == list(range(cursor + 1, total + 1))


async def test_cursor_of_another_world_starts_afresh(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("anna", 3)
    async with gate.client("anna", 99) as client:
        assert (await client.next())["resumed"] is False
        await client.synced()
        assert client.seqs == [1, 2, 3]


async def test_resume_by_cursor_while_notifications_keep_arriving(gate: Gate, inbox: Inbox) -> None:
    """Come and go twenty times in a stream of 400; every item exactly once, in order."""

    async def keep_delivering() -> None:
        for _ in range(100):
            await inbox.deliver("anna", 4)

    await inbox.deliver("anna", PAGE + 5)
    total = PAGE + 5 + 400
    seen: list[int] = []
    delivering = asyncio.create_task(keep_delivering())
    while len(seen) < total:
        async with gate.client("anna", len(seen)) as client:
            await client.has(min(20, total - len(seen)))
            seen += client.seqs
    await delivering
    assert seen == list(range(1, total + 1))
    _, unread, version = await inbox.counters("anna")
    assert (client.unread, client.version) == (unread, version) == (total, total)


async def test_postgres_is_read_only_after_the_subscription(
    gate: Gate, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published while the SUBSCRIBE is still on its way is heard by nobody: the read must come after."""
    monkeypatch.setattr("gateway.line.CONFIRM_SECONDS", 60)
    with monkeypatch.context() as held:
        held.setattr(gate.board.hub, "_commands", list)
        async with gate.client("anna") as client:
            await eventually(lambda: gate.board.count() == 1)
            await inbox.deliver("anna", 1)
            held.undo()
            gate.board.hub.wake.set()
            await client.synced()
            assert client.seqs == [1]


async def test_read_elsewhere_while_away(gate: Gate, inbox: Inbox) -> None:
    """Items that the client holds already and that were read on another device meanwhile."""
    await inbox.deliver("anna", 3)
    async with gate.client("anna") as other:
        await other.synced()
        await other.send(type="read", seqs=[1])
        await other.until(lambda frame: frame["type"] == "changed")
        await other.send(type="archive", seqs=[2])
        await other.until(lambda frame: frame["type"] == "changed")
    async with gate.client("anna", 3) as client:
        await client.synced()
        assert (client.read, client.archived, client.unread) == ({1}, {2}, 1)
        assert client.seqs == []


async def test_erased_notifications_leave_a_hole_that_nobody_waits_for(
    gate: Gate, inbox: Inbox, admin: Connection
) -> None:
    await inbox.deliver("anna", 5)
    await admin.execute(
        "DELETE FROM notify.notifications WHERE id IN (SELECT notification_id FROM notify.inbox WHERE seq IN (2, 5))"
    )
    async with gate.client("anna", 0) as client:
        await client.synced()
        assert client.seqs == [1, 3, 4]
        assert client.cursor == 5
        await inbox.deliver("anna", 1)
        await client.has(4)
        assert client.seqs == [1, 3, 4, 6]


async def test_archived_items_do_not_fill_the_first_page(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("anna", FIRST + 2)
    async with gate.client("anna") as client:
        await client.synced()
        await client.send(type="archive", seqs=list(range(3, FIRST + 3)))
        await client.until(lambda frame: frame["type"] == "changed")
    async with gate.client("anna") as client:
        await client.synced()
        assert client.seqs == [1, 2]
        assert client.unread == 2
