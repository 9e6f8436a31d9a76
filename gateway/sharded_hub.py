"""The hub on a Redis Cluster: one subscriber connection a node, each user's channel at the owner of its slot.

Each node has a loop of its own, so one that is dead, or hangs, holds up its own users only. Users who lost their place
- the slot moved, the connection broke - are adrift until the owner is looked up again.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from gateway.hub import MESSAGES_A_TURN, QUIET_SECONDS, Feed, Hub, OnChange
from gateway.metrics import SUBSCRIBED
from outbox.log import get
from outbox.nodes import Address, Nodes
from outbox.service import Stop, describe, run_loop, wait
from outbox.streams import Keys

log = get("gateway")

AGAIN_SECONDS = 0.1  # the nodes learn of a slot's move from each other, not at once
SUBSCRIBE, UNSUBSCRIBE = "SSUBSCRIBE", "SUNSUBSCRIBE"

OnAdrift = Callable[[list[str], Exception | None, Address], None]


class NodeHub(Hub):
    """The users of one node."""

    def __init__(
        self, node: Address, nodes: Nodes, keys: Keys, on_change: OnChange, on_ready: asyncio.Event
    ) -> None:
        super().__init__(nodes, keys, on_change, on_ready)
        self.node = node
        self.on_adrift: OnAdrift = lambda users, error, node: None
        self.on_state: Callable[[], None] = lambda: None
        self._returned: set[str] = set()
        self._asked: deque[tuple[str, str]] = deque()  # what is not answered yet: an error names no channel

    @property
    def idle(self) -> bool:
        return not self._feeds

    def adopt(self, user_id: str, feed: Feed, *, returned: bool) -> None:
        """`returned`: it was subscribed before, here or elsewhere."""
        self._feeds[user_id] = feed
        if returned:
            self._returned.add(user_id)
        self._settle(user_id)

    def release(self, user_id: str) -> None:
        del self._feeds[user_id]
        self._returned.discard(user_id)
        self._settle(user_id)

    async def step(self, stop: Stop) -> float:
        while self.idle:
            self.wake.clear()
            if stop:
                return 0
            await self.wake.wait()
        try:
            return await super().step(stop)
        finally:
            users = list(self._feeds)
            self._feeds.clear()
            self.on_adrift(users, None, self.node)

    async def _connect(self) -> AbstractConnection:
        async with asyncio.timeout(QUIET_SECONDS):
            return await self._nodes.subscriber_at(self.node)

    async def _send(self, connection: AbstractConnection, command: str, users: list[str]) -> None:
        """A command a user: one about several slots would be refused."""
        verb = f"S{command}"
        self._asked.extend((verb, user) for user in users)
        words = [(verb, self._keys.user(user)) for user in users]
        await connection.send_packed_command(connection.pack_commands(words))

    async def _hear(self, connection: AbstractConnection) -> None:
        heard = 0
        while True:
            try:
                message = await connection.read_response(timeout=float("inf"), disconnect_on_error=False)
            except ResponseError as error:
                self._quiet = False
                self._refused(error)
                continue
            self._quiet = False
            match message:
                case [b"smessage", bytes(channel), bytes(data)]:
                    self._pass_on(self._keys.user_id(channel.decode()), data)
                    heard += 1
                    if heard % MESSAGES_A_TURN == 0:
                        await asyncio.sleep(0)
                case [b"ssubscribe", bytes(channel), _]:
                    self._answered(SUBSCRIBE, channel)
                    self._confirm(self._keys.user_id(channel.decode()))
                case [b"sunsubscribe", bytes(channel), _]:
                    self._ended(self._keys.user_id(channel.decode()))

    def _answered(self, verb: str, channel: bytes) -> None:
        if not self._asked or self._asked.popleft() != (verb, self._keys.user_id(channel.decode())):
            raise RedisError("an answer to something else")  # a move crossed an UNSUBSCRIBE: begin anew

    def _confirm(self, user_id: str) -> None:
        super()._confirm(user_id)
        if user_id in self._returned:
            self._returned.remove(user_id)
            self._on_ready.set()  # hints may have been lost on the way

    def _ended(self, user_id: str) -> None:
        """By our wish, or because the slot has gone to another node."""
        if self._asked and self._asked[0] == (UNSUBSCRIBE, user_id):
            self._asked.popleft()
        elif (SUBSCRIBE, user_id) not in self._asked:  # else that one's answer tells
            self._drop(user_id, None)

    def _refused(self, error: ResponseError) -> None:
        """MOVED, or CLUSTERDOWN and the like: for one user, the others' subscriptions stand."""
        if not self._asked:
            raise error
        verb, user_id = self._asked.popleft()
        if verb == SUBSCRIBE:
            left = self._unconfirmed.pop(user_id, 1) - 1
            if left:
                self._unconfirmed[user_id] = left
            else:
                self._drop(user_id, error)

    def _drop(self, user_id: str, error: ResponseError | None) -> None:
        self._subscribed.discard(user_id)
        if feed := self._feeds.pop(user_id, None):
            feed.confirmed.clear()
            self.on_adrift([user_id], error, self.node)
        self._note_ready()

    def _forget(self) -> None:
        super()._forget()
        self._asked.clear()
        self._returned.clear()
        self.on_state()

    def _note_ready(self) -> None:
        super()._note_ready()
        self.on_state()


class ShardedHub:
    """What a Hub is to its users, of all nodes."""

    def __init__(self, nodes: Nodes, keys: Keys, on_change: OnChange, on_ready: asyncio.Event) -> None:
        self.wake = asyncio.Event()
        self._nodes = nodes
        self._keys = keys
        self._on_change = on_change
        self._on_ready = on_ready
        self._feeds: dict[str, Feed] = {}
        self._places: dict[str, NodeHub] = {}
        self._hubs: dict[Address, NodeHub] = {}
        self._adrift: set[str] = set()
        self._lost: set[str] = set()  # of those adrift, who had a place
        self._placing = False  # whether the loop runs, and knew the owners

    @property
    def ready(self) -> bool:
        """Whether every user's channel is subscribed."""
        return (
            self._placing and not self._adrift and all(hub.ready or hub.idle for hub in self._hubs.values())
        )

    @property
    def deaf(self) -> bool:
        """Whether nobody is told anything: a node that lives is worth a gateway."""
        return not self.ready and not any(hub.ready for hub in self._hubs.values())

    def join(self, user_id: str) -> asyncio.Event:
        """One listener more. The event is set while the subscription is known to stand."""
        feed = self._feeds.get(user_id)
        if feed is None:
            feed = self._feeds[user_id] = Feed()
            self._adrift.add(user_id)
            self.wake.set()
        feed.listeners += 1
        return feed.confirmed

    def leave(self, user_id: str) -> None:
        """One listener less."""
        feed = self._feeds[user_id]
        feed.listeners -= 1
        if not feed.listeners:
            del self._feeds[user_id]
            self._adrift.discard(user_id)
            self._lost.discard(user_id)
            if hub := self._places.pop(user_id, None):
                hub.release(user_id)

    async def step(self, stop: Stop) -> float:
        """Until asked to stop: a loop for each node, and users brought to theirs."""
        async with asyncio.TaskGroup() as tasks:
            for hub in self._hubs.values():
                self._start(hub, tasks, stop)
            while not stop:
                self.wake.clear()
                placed = await self._place(tasks, stop)
                self._placing = placed
                self._note_state()
                await wait(self.wake, 60 if placed else AGAIN_SECONDS)
        self._placing = False
        return 0

    async def _place(self, tasks: asyncio.TaskGroup, stop: Stop) -> bool:
        """Whether all could be. The owners are looked up even for nobody, so that an outage shows."""
        for user_id in [*self._adrift, ""]:
            try:
                node = await self._nodes.owner(self._keys.user(user_id))
            except (RedisError, OSError) as error:
                log.warning("gateway.no_owner", error=describe(error))
                return False
            if user_id in self._adrift:  # not gone meanwhile
                self._adrift.remove(user_id)
                hub = self._places[user_id] = self._hubs.get(node) or self._open(node, tasks, stop)
                hub.adopt(user_id, self._feeds[user_id], returned=user_id in self._lost)
                self._lost.discard(user_id)
        return True

    def _open(self, node: Address, tasks: asyncio.TaskGroup, stop: Stop) -> NodeHub:
        hub = self._hubs[node] = NodeHub(node, self._nodes, self._keys, self._on_change, self._on_ready)
        hub.on_adrift, hub.on_state = self._set_adrift, self._note_state
        self._start(hub, tasks, stop)
        return hub

    def _start(self, hub: NodeHub, tasks: asyncio.TaskGroup, stop: Stop) -> None:
        stop.wakes(hub.wake)
        tasks.create_task(run_loop(f"hub {hub.node}", lambda: hub.step(stop), asyncio.Event(), stop))

    def _set_adrift(self, users: list[str], error: Exception | None, node: Address) -> None:
        self._nodes.learn(error, node)
        for user_id in users:
            self._places.pop(user_id, None)
            if user_id in self._feeds:
                self._adrift.add(user_id)
                self._lost.add(user_id)
        self._note_state()
        if users or error is None:
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self.wake.set)

    def _note_state(self) -> None:
        SUBSCRIBED.set(self.ready)
