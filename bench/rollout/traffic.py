"""Clients and producers: POSTs and reads by the Python client, its sockets, rows by plain SQL; each keeps account."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from uuid import UUID, uuid4

import asyncpg
import jwt

from bench.processes import JWT_SECRET
from bench.rollout.account import CHANNELS, Account, Request, Sent
from bench.rollout.stage import Stage
from db.pool import Connection
from outbox.client import AsyncClient, ClientError, New, Options, Reset, Retry, Synced

CLIENTS = 8
INSERTERS = 2
RECENT = 100
INSERT = """
INSERT INTO notify.outbox (notification_id, event_type, user_id, channels, payload)
VALUES ($1, 'rollout.sql', $2, $3, $4)
"""
PAYLOAD = {"title": "Your order has been paid", "body": "It leaves our house tomorrow."}
# Of the client's calls: how often each is made.
MIX = {"create": 12, "create_many": 2, "get": 3, "page": 3}


@dataclass(frozen=True)
class Counted(Retry):
    """The client's own retries, each noted."""

    account: Account = field(default_factory=Account)

    def pause(self, attempt: int, asked: float | None) -> float | None:
        seconds = Retry.pause(self, attempt, asked)
        if seconds is not None:
            self.account.repeats.append(monotonic())
        return seconds


@dataclass(slots=True)
class Traffic:
    """`rate`: the client's calls a second, and as many rows by SQL; `people`: how many users, each with a socket."""

    stage: Stage
    rate: float
    people: int
    recent: list[UUID] = field(default_factory=list)
    listening: set[str] = field(default_factory=set)
    producers: "list[asyncio.Task[None]]" = field(default_factory=list)
    over: bool = False

    @property
    def account(self) -> Account:
        return self.stage.account

    def user(self) -> str:
        return f"u{random.randrange(self.people)}"

    async def call(self, client: AsyncClient) -> None:
        """One of the mix."""
        what = random.choices(list(MIX), list(MIX.values()))[0]
        with noted(self.account.requests, what, ClientError):
            match what:
                case "create":
                    await self.create(client)
                case "create_many":
                    await self.create_many(client)
                case "get" if self.recent:
                    await client.notifications.get(random.choice(self.recent))
                case _:
                    await client.inbox.page(self.user(), limit=10)

    async def create(self, client: AsyncClient) -> None:
        channels = some_channels()
        told = await client.notifications.create(
            event_type="rollout.post", user_id=self.user(), channels=channels, payload=PAYLOAD
        )
        self.committed([(told.id, channels)])

    async def create_many(self, client: AsyncClient) -> None:
        channels = [some_channels() for _ in range(5)]
        told = await client.notifications.create_many(
            {"event_type": "rollout.batch", "user_id": self.user(), "channels": each, "payload": PAYLOAD}
            for each in channels
        )
        self.committed([(one.id, each) for one, each in zip(told.notifications, channels, strict=True)])

    def committed(self, made: list[tuple[UUID, list[str]]]) -> None:
        now = monotonic()
        self.account.sent += [Sent(str(notification), channels, now) for notification, channels in made]
        self.recent = [*self.recent, *(notification for notification, _ in made)][-RECENT:]

    async def insert(self, conn: Connection) -> None:
        """A row in a transaction of its own."""
        notification, channels = uuid4(), some_channels()
        with noted(self.account.inserts, "insert", asyncpg.PostgresError):
            await conn.execute(INSERT, notification, self.user(), channels, json.dumps(PAYLOAD))
            self.committed([(notification, channels)])

    async def keep(self, rate: float, step: Callable[[], Awaitable[None]]) -> None:
        """So often a second, never two at once; what is late is made up for."""
        began, done = monotonic(), 0
        while not self.over:
            await step()
            done += 1
            await asyncio.sleep(max(0.0, began + done / rate - monotonic()))

    async def end(self) -> None:
        """No more work; what is under way ends. Sockets stay."""
        self.over = True
        await asyncio.gather(*self.producers)

    async def listen(self, user: str) -> None:
        """A user's socket, for ever."""
        async with (
            AsyncClient(self.stage.url("api"), token(user, "user"), self.stage.url("gateway")) as client,
            aclosing(client.events()) as events,
        ):
            async for event in events:
                match event:
                    case New(item):
                        self.account.hear("inapp", str(item.notification_id), monotonic())
                    case Synced() if user in self.listening:
                        self.account.reconnects.append(monotonic())
                    case Synced():
                        self.listening.add(user)
                    case Reset():
                        self.account.oddities.append(f"{user}: reset")


def some_channels() -> list[str]:
    """In-app, and one of the others."""
    return ["inapp", random.choice(CHANNELS[1:])]


@contextmanager
def noted(where: list[Request], what: str, failure: type[Exception]) -> Iterator[None]:
    began = monotonic()
    try:
        yield
    except failure as error:
        where.append(Request(what, began, monotonic() - began, f"{type(error).__name__}: {error}"))
    else:
        where.append(Request(what, began, monotonic() - began))


def token(subject: str, scope: str) -> str:
    claims = {"sub": subject, "scope": scope, "iss": "outbox", "aud": "outbox"}
    return jwt.encode(claims | {"exp": datetime.now(UTC) + timedelta(hours=2)}, JWT_SECRET, "HS256")


@asynccontextmanager
async def traffic(stage: Stage, rate: float, people: int) -> AsyncIterator[Traffic]:
    """Under way, until the block ends."""
    made = Traffic(stage, rate, people)
    options = Options(retry=Counted(account=made.account))
    async with AsyncExitStack() as stack:
        tasks = [asyncio.create_task(made.listen(f"u{number}")) for number in range(people)]
        stack.push_async_callback(canceled, tasks)
        client = AsyncClient(stage.url("api"), token("rollout", "producer"), options=options)
        await stack.enter_async_context(client)
        while len(made.listening) < people:  # noqa: ASYNC110 - of many
            await asyncio.sleep(0.05)
        for _ in range(CLIENTS):
            made.producers.append(asyncio.create_task(made.keep(rate / CLIENTS, partial(made.call, client))))
        for _ in range(INSERTERS):
            conn = await asyncpg.connect(stage.database.producer)
            stack.push_async_callback(conn.close)
            made.producers.append(
                asyncio.create_task(made.keep(rate / INSERTERS, partial(made.insert, conn)))
            )
        stack.push_async_callback(canceled, made.producers)
        yield made


async def canceled(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
