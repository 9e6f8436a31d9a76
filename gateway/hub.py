"""One pub/sub connection to Redis for all sockets of the process: who listens, and what is heard.

Safe to repeat: a message is a hint, so a lost or doubled one does no harm. After a reconnection everything is
subscribed again, and `on_ready` is set so that Postgres is asked what was missed.
"""

import asyncio
import math
from collections.abc import Callable

from pydantic import ValidationError
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from gateway.metrics import HINTS, SUBSCRIBED
from gateway.protocol import Arrived, arrived
from outbox.inbox import InboxChange
from outbox.log import get
from outbox.nodes import Nodes
from outbox.service import Stop, backoff, describe
from outbox.streams import Keys

log = get("gateway")

READ, UNREADABLE = HINTS.labels("read"), HINTS.labels("unreadable")

# None: something was published that is no InboxChange.
OnChange = Callable[[str, InboxChange | Arrived | None], None]

CHANNELS_A_COMMAND = 500
QUIET_SECONDS = 10.0  # then PING; quiet for as long again, and the connection counts as dead
MESSAGES_A_TURN = 64  # then the sockets' writers get theirs, so a burst does not look like a slow reader


class Feed:
    """One user's channel. It is confirmed once Redis has acknowledged every SUBSCRIBE sent for it."""

    __slots__ = ("confirmed", "listeners")

    def __init__(self) -> None:
        self.listeners = 0
        self.confirmed = asyncio.Event()


class Hub:
    def __init__(self, nodes: Nodes, keys: Keys, on_change: OnChange, on_ready: asyncio.Event) -> None:
        self.ready = False
        self.wake = asyncio.Event()
        self._quiet = False
        self._nodes = nodes
        self._keys = keys
        self._on_change = on_change
        self._on_ready = on_ready
        self._feeds: dict[str, Feed] = {}
        self._unsettled: set[str] = set()  # users whose subscription may differ from their feed
        self._subscribed: set[str] = set()
        self._unconfirmed: dict[str, int] = {}

    def join(self, user_id: str) -> asyncio.Event:
        """One listener more. The event is set while the subscription is known to stand."""
        feed = self._feeds.get(user_id)
        if feed is None:
            feed = self._feeds[user_id] = Feed()
            self._settle(user_id)
        feed.listeners += 1
        return feed.confirmed

    def leave(self, user_id: str) -> None:
        """One listener less."""
        feed = self._feeds[user_id]
        feed.listeners -= 1
        if not feed.listeners:
            del self._feeds[user_id]
            self._settle(user_id)

    def _settle(self, user_id: str) -> None:
        self._unsettled.add(user_id)
        self.wake.set()

    @property
    def deaf(self) -> bool:
        """Whether nobody is told anything."""
        return not self.ready

    async def step(self, stop: Stop) -> float:
        """The life of one connection. Raises RedisError or OSError where none can be made."""
        connection = await self._connect()
        self._unsettled = set(self._feeds)
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._hear(connection))
                watch = tasks.create_task(self._watch(connection))
                await self._keep_subscribed(connection, stop)
                reader.cancel()
                watch.cancel()
        except* (RedisError, OSError) as group:
            log.warning("gateway.redis_lost", error=describe(group.exceptions[0]))
        finally:
            self._forget()
            await connection.disconnect(nowait=True)
        return backoff(0)

    async def _connect(self) -> AbstractConnection:
        return await self._nodes.subscriber()

    def _forget(self) -> None:
        self.ready = False
        SUBSCRIBED.set(0)
        self._subscribed.clear()
        self._unconfirmed.clear()
        for feed in self._feeds.values():
            feed.confirmed.clear()

    async def _keep_subscribed(self, connection: AbstractConnection, stop: Stop) -> None:
        """The one writer: many users who come at once make few commands."""
        while not stop:
            self.wake.clear()
            for command, users in self._commands():
                await self._send(connection, command, users)
            self._note_ready()
            await self.wake.wait()

    async def _send(self, connection: AbstractConnection, command: str, users: list[str]) -> None:
        await connection.send_command(command, *map(self._keys.user, users))

    def _commands(self) -> list[tuple[str, list[str]]]:
        """What brings the subscriptions in line with the feeds, in commands of bounded size."""
        unsettled, self._unsettled = self._unsettled, set()
        wanted = [user for user in unsettled if user in self._feeds]
        come = [user for user in wanted if user not in self._subscribed]
        for user in wanted:  # left and joined again before Redis heard of it: nothing is to be confirmed
            if user in self._subscribed and user not in self._unconfirmed:
                self._feeds[user].confirmed.set()
        gone = [user for user in unsettled if user not in self._feeds and user in self._subscribed]
        self._subscribed.difference_update(gone)
        self._subscribed.update(come)
        for user in come:
            self._unconfirmed[user] = self._unconfirmed.get(user, 0) + 1
        return [*batches("SUBSCRIBE", come), *batches("UNSUBSCRIBE", gone)]

    async def _hear(self, connection: AbstractConnection) -> None:
        heard = 0
        while True:
            # Without a timeout of its own, which costs more than the reading: that is what _watch is for.
            message = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            self._quiet = False
            match message:
                case [b"message", bytes(channel), bytes(data)]:
                    self._pass_on(self._keys.user_id(channel.decode()), data)
                    heard += 1
                    if heard % MESSAGES_A_TURN == 0:
                        await asyncio.sleep(0)
                case [b"subscribe", bytes(channel), _]:
                    self._confirm(self._keys.user_id(channel.decode()))

    async def _watch(self, connection: AbstractConnection) -> None:
        """A connection may die without a word. Raises RedisError when PING is not answered."""
        while True:
            self._quiet = True
            await asyncio.sleep(QUIET_SECONDS)
            if self._quiet:
                await connection.send_command("PING")
                await asyncio.sleep(QUIET_SECONDS)
                if self._quiet:
                    raise RedisError(f"no answer to PING within {QUIET_SECONDS:g} seconds")

    def _pass_on(self, user_id: str, data: bytes) -> None:
        if (item := arrived(data)) is not None:
            READ.inc()
            self._on_change(user_id, item)
            return
        try:
            change = InboxChange.model_validate_json(data)
        except ValidationError:
            UNREADABLE.inc()
            log.warning("gateway.hint_unreadable", bytes=len(data))
            self._on_change(user_id, None)
        else:
            READ.inc()
            self._on_change(user_id, change)

    def _confirm(self, user_id: str) -> None:
        left = self._unconfirmed.get(user_id, 1) - 1
        if left:  # left and joined again meanwhile: the last SUBSCRIBE counts, an UNSUBSCRIBE is before it
            self._unconfirmed[user_id] = left
            return
        self._unconfirmed.pop(user_id, None)
        if feed := self._feeds.get(user_id):
            feed.confirmed.set()
        self._note_ready()

    def _note_ready(self) -> None:
        if not self.ready and not self._unconfirmed:
            self.ready = True
            SUBSCRIBED.set(1)
            log.info("gateway.subscribed", users=len(self._feeds))
            self._on_ready.set()


def batches(command: str, users: list[str]) -> list[tuple[str, list[str]]]:
    starts = range(0, len(users), CHANNELS_A_COMMAND)
    return [(command, users[start : start + CHANNELS_A_COMMAND]) for start in starts]
