"""A gateway on a port of its own, a client that keeps the protocol's rules, and the in-app worker's statements."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self
from uuid import UUID, uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

from db import delivery, inbox_changes
from db.delivery import Claimant, Settlement, Status
from db.inbox_changes import Listed, Mark
from db.pool import Connection, Executor, Pool, open_pool
from gateway.main import run
from gateway.switchboard import Switchboard
from outbox.inbox import InboxChange, InboxItem
from outbox.inbox_hints import spread
from outbox.local.ports import any_free
from outbox.nodes import Nodes
from outbox.service import Stop
from outbox.settings import Settings
from outbox.tokens import Scope, issue

DEADLINE = 60.0

Frame = dict[str, Any]


class Gate:
    """A running gateway."""

    def __init__(self, settings: Settings, board: Switchboard, stop: Stop) -> None:
        self.settings = settings
        self.board = board
        self.stop = stop
        self.address = f"127.0.0.1:{settings.gateway_port}"

    def token(self, user_id: str, scope: Scope = Scope.USER, seconds: float = 600) -> str:
        return issue(self.settings, user_id, scope, timedelta(seconds=seconds))

    @asynccontextmanager
    async def client(
        self, user_id: str, cursor: int | None = None, *, seconds: float = 600, **options: Any
    ) -> AsyncIterator["Client"]:
        """A client that has sent its auth frame."""
        async with self.raw(**options) as ws:
            client = Client(ws)
            await client.send(type="auth", token=self.token(user_id, seconds=seconds), cursor=cursor)
            yield client

    def raw(self, path: str = "/v1/ws", **options: Any) -> connect:
        # Without a bound of its own, a client that leaves in the middle of a burst still hears the close.
        options = {"max_queue": None, "close_timeout": 1} | options
        return connect(f"ws://{self.address}{path}", open_timeout=DEADLINE, **options)


class Client:
    """Does what docs/realtime.md asks of clients, and remembers every item in the order it came."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.seqs: list[int] = []
        self.items: list[Frame] = []
        self.read: set[int] = set()
        self.archived: set[int] = set()
        self.cursor = 0
        self.unread = -1
        self.version = -1

    async def send(self, **frame: Any) -> None:
        await self.ws.send(json.dumps(frame))

    async def next(self) -> Frame:
        async with asyncio.timeout(DEADLINE):
            frame: Frame = json.loads(await self.ws.recv())
        self._apply(frame)
        return frame

    def _apply(self, frame: Frame) -> None:
        match frame["type"]:
            case "notification":
                self.seqs.append(frame["seq"])
                self.items.append(frame)
                self.cursor = frame["seq"]
                self.read.update({frame["seq"]} if frame["read_at"] else ())
            case "changed":
                self.read.update(frame["read"])
                self.read.difference_update(frame["unread_again"])
                self.archived.update(frame["archived"])
                self.archived.difference_update(frame["unarchived"])
            case "synced":
                self.cursor = frame["last_seq"]
        if frame.get("version", -1) > self.version and frame["type"] != "welcome":
            self.version, self.unread = frame["version"], frame["unread"]

    async def until(self, done: Callable[[Frame], bool]) -> Frame:
        while not done(frame := await self.next()):
            pass
        return frame

    async def synced(self) -> Self:
        await self.until(lambda frame: frame["type"] == "synced")
        return self

    async def has(self, count: int) -> Self:
        while len(self.seqs) < count:
            await self.next()
        return self

    async def closed(self) -> Close:
        """Read to the end; the close frame."""
        while True:
            try:
                await self.next()
            except ConnectionClosed as error:
                if error.rcvd is None:
                    raise
                return error.rcvd


class Inbox:
    """What the in-app worker does to inboxes: its statement in a transaction, then the hint."""

    def __init__(self, settings: Settings, pool: Pool, nodes: Nodes, producer: Connection) -> None:
        self.settings = settings
        self.pool = pool
        self.nodes = nodes
        self.producer = producer

    async def deliver(self, user_id: str, count: int = 1, **payload: Any) -> None:
        for change in await self.commit(user_id, count, **payload):
            await self.publish(user_id, change)

    async def commit(self, user_id: str, count: int = 1, **payload: Any) -> list[InboxChange]:
        """Everything but the publishing."""
        async with self.pool.acquire() as conn, conn.transaction():
            return await self.place(conn, user_id, count, payload or {"title": "Hello"})

    async def place(self, conn: Executor, user_id: str, count: int, payload: Frame) -> list[InboxChange]:
        ids = await self.produce(user_id, count, payload)
        who = Claimant("inapp", "worker", uuid4(), 60, contacts=False)
        done = [Settlement(id_, who.token, Status.DELIVERED, "delivered", 1) for id_ in ids]
        await delivery.claim(conn, who, ids, [0] * count)
        placed = await delivery.settle_in_inbox(conn, who.channel, [(one, user_id) for one in done])
        return [
            InboxChange(
                version=place.version,
                last_seq=place.seq or 0,
                unread=place.unread,
                item=InboxItem(
                    seq=place.seq or 0,
                    notification_id=place.notification_id,
                    event_type="order.paid",
                    actor_user_id=None,
                    payload=payload,
                    created_at=place.delivered_at,
                    delivered_at=place.delivered_at,
                ),
            )
            for place in placed.values()
        ]

    async def archive(self, user_id: str, seqs: Iterable[int]) -> None:
        """As on another device of the user's."""
        async with self.pool.acquire() as conn, conn.transaction():
            applied = await inbox_changes.apply(conn, user_id, Listed(Mark.ARCHIVED, list(seqs)))
        if applied.hint:
            await self.publish(user_id, applied.hint)

    async def produce(self, user_id: str, count: int, payload: Frame) -> list[UUID]:
        ids = [uuid4() for _ in range(count)]
        await self.producer.executemany(
            "INSERT INTO notify.outbox (notification_id, event_type, user_id, payload) "
            "VALUES ($1, 'order.paid', $2, $3)",
            [(id_, user_id, json.dumps(payload)) for id_ in ids],
        )
        return ids

    async def publish(self, user_id: str, change: InboxChange) -> None:
        await self.publish_raw(user_id, change.model_dump_json())

    async def publish_raw(self, user_id: str, *messages: str | bytes) -> None:
        """In one go."""
        channel = self.settings.keys.user(user_id)
        if self.nodes.is_cluster:
            await spread(self.nodes, {channel: messages})
            return
        async with self.nodes.at(channel) as redis:
            pipe = redis.pipeline(transaction=False)
            for message in messages:
                pipe.publish(channel, message)
            await pipe.execute()

    async def counters(self, user_id: str) -> tuple[int, int, int]:
        """last_seq, unread, version; and unread is checked against the items."""
        row = await self.pool.fetchrow("SELECT * FROM notify.inbox_counters WHERE user_id = $1", user_id)
        assert row is not None
        truth = await self.pool.fetchval(
            "SELECT count(*) FROM notify.inbox WHERE user_id = $1 AND read_at IS NULL AND archived_at IS NULL",
            user_id,
        )
        assert row["unread"] == truth
        return row["last_seq"], row["unread"], row["version"]


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Gate]:
    """A gateway process's insides, on a port of its own."""
    settings = settings.model_copy(update={"gateway_port": any_free()})
    pool = await open_pool(settings.database, name="gateway")
    nodes = Nodes(settings.redis, client_name=settings.redis_prefix, protocol=2)
    gate = Gate(settings, Switchboard(settings, pool, nodes), Stop())
    running = asyncio.create_task(run(gate.board, gate.stop))
    try:
        await eventually(lambda: gate.board.hub.ready and answers(settings.gateway_port))
        yield gate
        gate.stop.ask()
        async with asyncio.timeout(DEADLINE):
            await running
    finally:
        running.cancel()
        await nodes.aclose()
        pool.terminate()


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def eventually(check: Callable[[], bool]) -> None:
    """For state that has no event of its own to wait for."""
    async with asyncio.timeout(DEADLINE):
        while not check():  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0.01)
