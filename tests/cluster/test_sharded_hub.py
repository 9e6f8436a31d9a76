"""Hints on a cluster of three real nodes: each at the owner of its channel, wherever that is just now."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.protocol import Arrived
from gateway.sharded_hub import ShardedHub
from outbox.inbox import InboxChange
from outbox.inbox_hints import publish, spread
from outbox.nodes import Nodes
from outbox.service import Stop, run_loop
from outbox.settings import Settings
from outbox.streams import Keys
from tests.three_nodes import Cluster, Node

DEADLINE_SECONDS = 60


class Ear:
    """A gateway's hub, and whom it was told of."""

    def __init__(self, nodes: Nodes, keys: Keys) -> None:
        self.nodes, self.keys = nodes, keys
        self.heard: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self.hub = ShardedHub(nodes, keys, self.note, asyncio.Event())

    def note(self, user_id: str, change: InboxChange | Arrived | None) -> None:
        assert isinstance(change, InboxChange)
        self.heard.put_nowait((user_id, change.version))

    async def subscribed(self, *users: str) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            for user in users:
                await self.hub._feeds[user].confirmed.wait()

    async def says(self, user_id: str, version: int) -> None:
        """A hint that is published is the next that is heard."""
        await publish(self.nodes, self.keys, user_id, InboxChange(version=version, last_seq=1, unread=1))
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await self.heard.get() == (user_id, version)


@pytest.fixture
async def ear(nodes: Nodes, settings: Settings) -> AsyncIterator[Ear]:
    ear, stop = Ear(nodes, settings.keys), Stop()
    stop.wakes(ear.hub.wake)
    running = asyncio.create_task(run_loop("hub", lambda: ear.hub.step(stop), asyncio.Event(), stop))
    yield ear
    stop.ask()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await running


def users_of(cluster: Cluster, keys: Keys) -> dict[int, str]:
    """A user for each node, by its port."""
    found: dict[int, str] = {}
    for number in range(100):
        found.setdefault(cluster.holder(keys.user(f"u{number}")).port, f"u{number}")
    return found


def listening(node: Node, channel: str) -> int:
    """Subscribers of the channel, as this node has them."""
    _, count = node.ask("PUBSUB", "SHARDNUMSUB", channel)
    return int(count)


async def test_a_hint_reaches_the_users_of_every_node(ear: Ear, cluster: Cluster) -> None:
    users = users_of(cluster, ear.keys)
    for user in users.values():
        ear.hub.join(user)
    await ear.subscribed(*users.values())
    assert len(users) == 3
    for node in cluster.nodes:
        channel = ear.keys.user(users[node.port])
        assert [listening(one, channel) for one in cluster.nodes] == [
            int(one is node) for one in cluster.nodes
        ]
        await ear.says(users[node.port], 1)
    message = InboxChange(version=2, last_seq=1, unread=1).model_dump_json()
    await spread(ear.nodes, {ear.keys.user(user): [message] for user in users.values()})
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert {await ear.heard.get() for _ in users} == {(user, 2) for user in users.values()}
    assert ear.hub.ready


async def test_a_slot_that_moves_takes_its_user_along(ear: Ear, cluster: Cluster) -> None:
    ear.hub.join("anna")
    await ear.subscribed("anna")
    channel = ear.keys.user("anna")
    source, target = cluster.open_move(channel)
    await ear.says("anna", 1)
    cluster.move_keys(channel, source, target)
    cluster.close_move(channel, source, target)
    await until_listening(target, channel)
    await ear.subscribed("anna")
    assert listening(source, channel) == 0
    await ear.says("anna", 2)


async def test_a_killed_node_holds_up_its_own_users_only(ear: Ear, cluster: Cluster) -> None:
    users = users_of(cluster, ear.keys)
    for user in users.values():
        ear.hub.join(user)
    await ear.subscribed(*users.values())
    victim, *others = cluster.nodes
    victim.kill()
    try:
        for other in others:  # before the cluster finds that a node is missing, and after it has come back
            await ear.says(users[other.port], 1)
        assert not ear.hub.deaf
    finally:
        victim.start()
        await asyncio.to_thread(cluster.until_whole)
    await until_listening(victim, ear.keys.user(users[victim.port]))
    await ear.subscribed(*users.values())
    for node in cluster.nodes:
        await ear.says(users[node.port], 2)


async def until_listening(node: Node, channel: str) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await asyncio.to_thread(listening, node, channel):
            pass
