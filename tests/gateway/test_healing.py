"""Pub/sub may lose, double and shuffle what it likes: Postgres puts it right."""

import asyncio

import pytest

from db.inbox_changes import MAX_SEQS
from outbox.inbox import InboxChange
from outbox.nodes import is_cluster
from outbox.settings import Settings
from tests.conftest import each_node
from tests.gateway.harness import Gate, Inbox, eventually, serving


async def test_lost_message_is_healed_by_the_next(gate: Gate, inbox: Inbox) -> None:
    async with gate.client("anna") as client:
        await client.synced()
        await inbox.commit("anna", 3)  # never published
        await inbox.deliver("anna", 1)
        await client.has(4)
        assert (client.seqs, client.unread) == ([1, 2, 3, 4], 4)


async def test_out_of_order_and_doubled_publishes(gate: Gate, inbox: Inbox) -> None:
    async with gate.client("anna") as client:
        await client.synced()
        changes = await inbox.commit("anna", 6)
        for change in [*reversed(changes), *changes]:
            await inbox.publish("anna", change)
        await inbox.deliver("anna", 1)  # what follows proves that nothing came twice
        await client.has(7)
        assert (client.seqs, client.unread) == ([1, 2, 3, 4, 5, 6, 7], 7)


async def test_reconcile_heals_a_lost_hint(settings: Settings, inbox: Inbox) -> None:
    """A worker died between its commit and its PUBLISH, and nothing follows."""
    often = settings.model_copy(update={"gateway_reconcile": 0.1})
    async with serving(often) as gate, gate.client("anna") as client:
        await client.synced()
        await inbox.commit("anna", 2)
        await client.has(2)
        assert (client.seqs, client.unread) == ([1, 2], 2)


@pytest.mark.parametrize("since", [0, 1, 3])
async def test_reconcile_tells_of_an_erasure_whose_hint_was_lost(
    settings: Settings, inbox: Inbox, since: int
) -> None:
    """Redis was away when the user was erased; there may be something new since then."""
    often = settings.model_copy(update={"gateway_reconcile": 0.1})
    await inbox.commit("anna", 2)
    await inbox.commit("anna", 2)
    async with serving(often) as gate, gate.client("anna") as client:
        await client.synced()
        async with inbox.pool.acquire() as conn, conn.transaction():
            await conn.execute("DELETE FROM notify.inbox WHERE user_id = 'anna'")
            await conn.execute("DELETE FROM notify.inbox_counters WHERE user_id = 'anna'")
            await inbox.place(conn, "anna", since, {})
        welcome = await client.until(lambda frame: frame["type"] == "welcome")
        assert (welcome["resumed"], welcome["unread"], welcome["version"]) == (False, since, since)
        await client.synced()
        await inbox.deliver("anna", 1)
        await client.has(5 + since)
        assert client.seqs == [1, 2, 3, 4, *range(1, since + 2)]


@pytest.mark.parametrize("data", ["no json", '{"version": 1}', "\xff\xfe"])
async def test_unreadable_message_makes_the_session_look(gate: Gate, inbox: Inbox, data: str) -> None:
    async with gate.client("anna") as client:
        await client.synced()
        await inbox.commit("anna", 1)
        await inbox.publish_raw("anna", data)
        await client.has(1)


async def test_hint_of_a_version_that_is_not_there_costs_one_look(gate: Gate, inbox: Inbox) -> None:
    async with gate.client("anna") as client:
        await client.synced()
        await inbox.publish("anna", InboxChange(version=10**9, last_seq=10**9, unread=5))
        await client.synced()
        assert client.unread == 0
        await inbox.deliver("anna", 2)
        await client.has(2)
        assert (client.seqs, client.unread) == ([1, 2], 2)


async def test_killed_redis_connection(gate: Gate, inbox: Inbox) -> None:
    """CLIENT KILL again and again while notifications arrive: subscribe again, look again, nothing missed."""
    async with gate.client("anna") as anna, gate.client("ben") as ben:
        await asyncio.gather(anna.synced(), ben.synced())
        for _ in range(5):
            await inbox.deliver("anna", 3)
            await kill_subscriber(gate)
            await inbox.deliver("anna", 2)
            await inbox.deliver("ben", 1)
            await anna.has(len(anna.seqs) + 5)
            await eventually(lambda: gate.board.hub.ready)
        await ben.has(5)
        assert anna.seqs == list(range(1, 26))
        assert ben.seqs == [1, 2, 3, 4, 5]
        await inbox.deliver("anna", 1)  # live again
        await anna.has(26)


async def test_a_quiet_redis_connection_is_kept_while_ping_is_answered(
    settings: Settings, redis: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.hub.QUIET_SECONDS", 6)  # Redis may take its time
    async with serving(settings) as gate, gate.client("anna") as client:
        await client.synced()
        [before] = await subscribers(gate)
        async with asyncio.timeout(60):
            while (now := await subscribers(gate))[0]["cmd"] != "ping":
                assert now[0]["id"] == before["id"]
                await asyncio.sleep(0.05)


async def test_a_silent_redis_connection_is_replaced(
    settings: Settings, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.hub.QUIET_SECONDS", 0.05)
    async with serving(settings) as gate, gate.client("anna") as client:
        await client.synced()
        before = {each["id"] for each in await connections(gate)}
        await inbox.commit("anna", 1)
        async with asyncio.timeout(60):
            while before & {each["id"] for each in await subscribers(gate)}:
                await paused(settings)
        monkeypatch.setattr("gateway.hub.QUIET_SECONDS", 10)
        await client.has(1)  # the reconciliation after the reconnection
        await inbox.deliver("anna", 1)
        await client.has(2)


async def paused(settings: Settings) -> None:
    """Redis takes what it is sent, and says nothing for half a second."""
    async with each_node(settings.redis) as nodes:
        for node in nodes:
            await node.client_pause(timeout=500, all=True)


async def test_a_user_who_comes_back_at_once_is_still_subscribed(gate: Gate) -> None:
    """Before Redis was told that nobody listens any more, as when a page is loaded again."""
    hub = gate.board.hub
    async with asyncio.timeout(60):
        await hub.join("anna").wait()
        hub.leave("anna")
        await hub.join("anna").wait()
    hub.leave("anna")


async def kill_subscriber(gate: Gate) -> None:
    """On a cluster there is one for each node that has users."""
    async with each_node(gate.settings.redis) as nodes:
        for subscriber in await subscribers(gate):
            for node in nodes:
                await node.client_kill_filter(addr=subscriber["addr"])


async def subscribers(gate: Gate) -> list[dict[str, str]]:
    return [client for client in await connections(gate) if int(client["sub"]) + int(client.get("ssub", 0))]


async def connections(gate: Gate) -> list[dict[str, str]]:
    """The gateway's, on all nodes."""
    async with each_node(gate.settings.redis) as nodes:
        clients = [client for node in nodes for client in await node.client_list()]
    return [client for client in clients if client["name"] == gate.settings.redis_prefix]


async def test_many_sockets_on_one_redis_connection(settings: Settings, inbox: Inbox) -> None:
    """300 sockets of 150 users: one subscriber, and each user's channel once; none left over afterwards."""
    crowded = settings.model_copy(update={"gateway_strangers_per_address": 300})
    async with serving(crowded) as gate:
        await many_sockets(gate, inbox)


async def many_sockets(gate: Gate, inbox: Inbox) -> None:
    users = [f"user-{number}" for number in range(150)] * 2
    contexts = [gate.client(user) for user in users]
    clients = await asyncio.gather(*(context.__aenter__() for context in contexts))
    try:
        await asyncio.gather(*(client.synced() for client in clients))
        listening, cluster = await subscribers(gate), is_cluster(gate.settings.redis)
        assert len(listening) == (3 if cluster else 1)
        assert sum(int(one["ssub" if cluster else "sub"]) for one in listening) == 150
        asks_where_the_slots_are = cluster
        assert len(await connections(gate)) == len(listening) + asks_where_the_slots_are
        for user in ("user-0", "user-149"):
            await inbox.deliver(user, 1)
        for number in (0, 149, 150, 299):
            await clients[number].has(1)
    finally:
        await asyncio.gather(*(context.__aexit__(None, None, None) for context in contexts))
    async with asyncio.timeout(60):
        # No channel left: no subscriber any more.
        while await subscribers(gate):  # noqa: ASYNC110 - Redis is asked
            await asyncio.sleep(0.01)


async def test_a_change_too_big_to_list(gate: Gate, inbox: Inbox) -> None:
    """Its hint lists nothing; the sessions look, and counts are exact."""
    await inbox.deliver("anna", MAX_SEQS + 20)
    async with gate.client("anna") as first, gate.client("anna") as second:
        await asyncio.gather(first.synced(), second.synced())
        await first.send(type="read_all", up_to=first.cursor)
        for client in (first, second):
            await client.synced()
            assert client.unread == 0
            assert set(client.seqs) <= client.read
