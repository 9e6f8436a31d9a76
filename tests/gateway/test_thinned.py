"""Old items go out of inboxes that people have open: counts stay exact, and whoever comes back gets what is left."""

import random
from datetime import timedelta
from typing import Any

import pytest

from db import retention
from db.inbox_changes import Listed, Mark, apply
from db.pool import Connection
from db.retention import BEGINNING
from outbox.inbox import InboxChange
from relay.retention import hint
from tests.gateway.harness import Client, Gate, Inbox

USERS = ["anna", "ben"]
AGE = (
    "UPDATE notify.notifications n SET created_at = now() - interval '40 days' FROM notify.inbox i WHERE {0}"
)
ENDED = "UPDATE notify.deliveries n SET settled_at = now() - interval '40 days' FROM notify.inbox i WHERE {0}"
ITEM = "i.notification_id = n.{0} AND i.user_id = $1 AND i.seq = ANY ($2::bigint[])"
ITEMS = """
SELECT seq, read_at IS NOT NULL AS read, archived_at IS NOT NULL AS archived FROM notify.inbox WHERE user_id = $1
"""


async def age(admin: Connection, user_id: str, seqs: list[int]) -> None:
    await admin.execute(AGE.format(ITEM.format("id")), user_id, seqs)
    await admin.execute(ENDED.format(ITEM.format("notification_id")), user_id, seqs)


async def purge(inbox: Inbox) -> dict[str, InboxChange]:
    """What a relay does, and would tell."""
    async with inbox.pool.acquire() as conn, conn.transaction():
        found = await retention.purge(conn, timedelta(days=30), BEGINNING, 500)
    return {thinned.user_id: hint(thinned) for thinned in found.inboxes}


async def standing(admin: Connection, user_id: str) -> dict[int, Any]:
    return {row["seq"]: (row["read"], row["archived"]) for row in await admin.fetch(ITEMS, user_id)}


async def told(client: Client, version: int) -> None:
    """Until the client has heard of this version."""
    while client.version < version:
        await client.next()


def seen(client: Client) -> dict[int, bool]:
    """What stands in a client's list, and whether it is read."""
    return {seq: seq in client.read for seq in client.seqs if seq not in client.archived}


async def test_an_open_client_sees_them_go(gate: Gate, inbox: Inbox, admin: Connection) -> None:
    await inbox.deliver("anna", 5)
    async with gate.client("anna") as client:
        await client.synced()
        await client.send(type="read", seqs=[2])
        await told(client, 6)
        await age(admin, "anna", [1, 2, 4])
        for user, change in (await purge(inbox)).items():
            await inbox.publish(user, change)
        frame = await client.next()
        assert (frame["type"], frame["archived"], frame["unread"], frame["version"]) == (
            "changed",
            [1, 2, 4],
            2,
            7,
        )
        await inbox.deliver("anna")
        await client.has(6)
        assert sorted(seen(client)) == [3, 5, 6]
    assert await inbox.counters("anna") == (6, 3, 8)


@pytest.mark.parametrize("cursor", [0, 2, 5])
async def test_whoever_comes_back_gets_what_is_left_in_order(
    gate: Gate, inbox: Inbox, admin: Connection, cursor: int
) -> None:
    await inbox.deliver("anna", 8)
    await age(admin, "anna", [1, 2, 3, 4, 6])
    await purge(inbox)
    async with gate.client("anna", cursor) as client:
        welcome = await client.next()
        assert (welcome["resumed"], welcome["unread"], welcome["last_seq"]) == (True, 3, 8)
        await client.synced()
        assert client.seqs == [seq for seq in (5, 7, 8) if seq > cursor]
        assert client.archived == {1, 2, 3, 4, 6}.intersection(range(1, cursor + 1)), (
            "out of what it still shows"
        )
        assert (client.unread, client.cursor) == (3, 8)


async def test_an_inbox_of_which_all_is_gone(gate: Gate, inbox: Inbox, admin: Connection) -> None:
    await inbox.deliver("anna", 3)
    await age(admin, "anna", [1, 2, 3])
    await purge(inbox)
    assert await inbox.counters("anna") == (3, 0, 4)
    async with gate.client("anna", 3) as client:
        await client.synced()
        assert (client.seqs, client.archived, client.unread) == ([], {1, 2, 3}, 0)
        await inbox.deliver("anna")
        await client.has(1)
        assert (client.seqs, client.unread) == ([4], 1)


async def step(
    inbox: Inbox, admin: Connection, user: str, name: str, chance: random.Random
) -> list[InboxChange]:
    """One thing that happens to an inbox, and the hints of it."""
    items = await standing(admin, user)
    some = chance.sample(sorted(items), min(len(items), chance.randint(1, 4)))
    match name:
        case "arrive":
            return await inbox.commit(user, chance.randint(1, 3))
        case "purge":
            await age(admin, user, some)
            thinned = await purge(inbox)
            assert set(thinned) <= {user}, "the other inbox is left alone"
            assert set(items) - set(await standing(admin, user)) == set(some)
            return list(thinned.values())
        case _:
            async with inbox.pool.acquire() as conn, conn.transaction():
                applied = await apply(conn, user, Listed(Mark(name), some))
            return [applied.hint] if applied.hint else []


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_happens_in_between_the_counts_are_exact(
    gate: Gate, inbox: Inbox, admin: Connection, seed: int
) -> None:
    """Arrivals, changes and purges in any order, with every fifth hint lost. After each step the count is that of the
    items and the version has grown by the hints; in the end two clients show what there is."""
    chance = random.Random(seed)
    versions = dict.fromkeys(USERS, 0)
    names = ["arrive", "arrive", "purge", *(mark.value for mark in Mark)]
    async with gate.client("anna") as anna, gate.client("ben") as ben:
        await anna.synced()
        await ben.synced()
        for _ in range(80):
            user = chance.choice(USERS)
            for change in await step(inbox, admin, user, chance.choice(names), chance):
                versions[user] += 1
                assert change.version == versions[user]
                if chance.random() > 0.2:
                    await inbox.publish(user, change)
            if versions[user]:
                assert (await inbox.counters(user))[2] == versions[user]
        for user, client in (("anna", anna), ("ben", ben)):
            await inbox.deliver(user)  # whatever was lost is made good by what follows it
            await told(client, versions[user] + 1)
            there = await standing(admin, user)
            assert seen(client) == {seq: read for seq, (read, archived) in there.items() if not archived}
            assert client.unread == (await inbox.counters(user))[1]
