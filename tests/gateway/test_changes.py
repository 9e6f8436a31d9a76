"""Read, read all, archive: exact counts, and the user's other sockets hear of it."""

import asyncio
import random

from outbox.settings import Settings
from tests.gateway.harness import Client, Frame, Gate, Inbox, serving


def changed(frame: Frame) -> bool:
    return bool(frame["type"] == "changed")


async def test_read_is_told_to_the_other_sockets(settings: Settings, gate: Gate, inbox: Inbox) -> None:
    """On the same gateway and on another one."""
    await inbox.deliver("anna", 3)
    async with (
        serving(settings) as elsewhere,
        gate.client("anna") as one,
        gate.client("anna") as two,
        elsewhere.client("anna") as three,
        gate.client("ben") as ben,
    ):
        for client in (one, two, three, ben):
            await client.synced()
        await one.send(type="read", seqs=[1, 3])
        for client in (one, two, three):
            frame = await client.until(changed)
            assert (frame["read"], frame["unread"], frame["version"]) == ([1, 3], 1, 4)
        await three.send(type="archive", seqs=[2])
        for client in (one, two, three):
            frame = await client.until(changed)
            assert (frame["archived"], frame["unread"], frame["version"]) == ([2], 0, 5)
        await inbox.deliver("ben", 1)
        assert (await ben.next())["type"] == "notification"  # and nothing of anna's before it
    assert await inbox.counters("anna") == (3, 0, 5)


async def test_repeat_changes_nothing_and_is_answered(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("anna", 2)
    async with gate.client("anna") as client:
        await client.synced()
        await client.send(type="read", seqs=[1, 1, 7])
        assert (await client.until(changed))["read"] == [1]
        await client.send(type="read", seqs=[1])
        frame = await client.next()
        assert (frame["read"], frame["unread"], frame["version"]) == ([], 1, 3)
    assert await inbox.counters("anna") == (2, 1, 3)


async def test_change_of_an_inbox_that_does_not_exist(gate: Gate) -> None:
    async with gate.client("nobody") as client:
        await client.synced()
        await client.send(type="read_all", up_to=10)
        assert await client.next() == {
            "type": "changed",
            "read": [],
            "unread_again": [],
            "archived": [],
            "unarchived": [],
            "unread": 0,
            "version": 0,
        }


async def test_read_all_leaves_what_the_client_has_not_seen(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("anna", 4)
    async with gate.client("anna") as client:
        await client.synced()
        await client.send(type="read_all", up_to=3)
        frame = await client.until(changed)
        assert (frame["read"], frame["unread"]) == ([1, 2, 3], 1)


async def test_archiving_a_read_item_does_not_count_twice(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("anna", 2)
    async with gate.client("anna") as client:
        await client.synced()
        for frame in ({"type": "read", "seqs": [1]}, {"type": "archive", "seqs": [1]}):
            await client.send(**frame)
            assert (await client.until(changed))["unread"] == 1
        await client.send(type="archive", seqs=[2])
        assert (await client.until(changed))["unread"] == 0
        await client.send(type="read", seqs=[2])  # archived before it was read: not unread any more
        assert (await client.until(changed))["unread"] == 0
    assert await inbox.counters("anna") == (2, 0, 6)


async def test_back_to_unread_and_out_of_the_archive(gate: Gate, inbox: Inbox) -> None:
    """Each way and back, one and all; the counts are those of the items at every step (inbox.counters checks)."""
    await inbox.deliver("anna", 4)
    steps: list[tuple[Frame, str, list[int], int]] = [
        ({"type": "read", "seqs": [1, 2]}, "read", [1, 2], 2),
        ({"type": "unread", "seqs": [2, 3]}, "unread_again", [2], 3),
        ({"type": "archive", "seqs": [1, 2]}, "archived", [1, 2], 2),
        ({"type": "unread", "seqs": [1]}, "unread_again", [1], 2),  # in the archive it does not count
        ({"type": "unarchive", "seqs": [1, 4]}, "unarchived", [1], 3),
        ({"type": "archive_all", "up_to": 3}, "archived", [1, 3], 1),
        ({"type": "read_all", "up_to": 2}, "read", [1, 2], 1),
        ({"type": "unarchive", "seqs": [1, 2, 3]}, "unarchived", [1, 2, 3], 2),
    ]
    async with gate.client("anna") as one, gate.client("anna") as two:
        await asyncio.gather(one.synced(), two.synced())
        for number, (frame, told, seqs, unread) in enumerate(steps, 5):
            await one.send(**frame)
            for client in (one, two):
                answer = await client.until(changed)
                assert (answer[told], answer["unread"], answer["version"]) == (seqs, unread, number), frame
            assert await inbox.counters("anna") == (4, unread, number)
        assert (two.read, two.archived) == ({1, 2}, set())


async def test_what_was_undone_while_away_is_told(gate: Gate, inbox: Inbox) -> None:
    """Read and archived when the client left; neither when it comes back."""
    await inbox.deliver("anna", 2)
    async with gate.client("anna") as client:
        await client.synced()
        for kind in ("read", "archive"):
            await client.send(type=kind, seqs=[1, 2])
            await client.until(changed)
    async with gate.client("anna", 2) as other:
        await other.synced()
        for kind in ("unread", "unarchive"):
            await other.send(type=kind, seqs=[1])
            await other.until(changed)
    async with gate.client("anna", 2) as back:
        back.read, back.archived = client.read, client.archived
        await back.synced()
        assert (back.read, back.archived, back.unread) == ({2}, {2}, 1)


async def test_one_cannot_change_what_is_anothers(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("ben", 1)
    async with gate.client("anna") as anna:
        await anna.synced()
        await anna.send(type="read", seqs=[1])
        await anna.until(changed)
    assert await inbox.counters("ben") == (1, 1, 1)


async def test_exact_count_after_concurrent_reads_on_two_sockets(gate: Gate, inbox: Inbox) -> None:
    """Both mark overlapping items in random order while more arrive; all agree with Postgres in the end."""
    await inbox.deliver("anna", 30)

    async def mark(client: Client) -> None:
        for _ in range(25):
            seqs = random.sample(range(1, 31), 4)
            await client.send(type=random.choice(["read", "unread", "archive", "unarchive"]), seqs=seqs)

    async def arrive() -> None:
        for _ in range(10):
            await inbox.deliver("anna", 1)

    async with gate.client("anna") as one, gate.client("anna") as two:
        await one.synced()
        await two.synced()
        await asyncio.gather(mark(one), mark(two), arrive())
        for client in (one, two):  # a ping is answered after all that was asked before it
            await client.send(type="ping")
            await client.until(lambda frame: frame["type"] == "pong")
        await inbox.deliver("anna", 1)  # the last change of all
        last_seq, unread, version = await inbox.counters("anna")
        for client in (one, two):
            while client.version < version:
                await client.next()
            assert (client.unread, client.cursor) == (unread, last_seq)
            assert client.seqs == list(range(1, 42))
        assert (one.read, one.archived) == (two.read, two.archived)
