"""The producers: transactions in plain SQL, and requests by our own client; each keeps account of their fate."""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, cycle
from time import monotonic
from typing import Any

import asyncpg

from bench.chaos.account import Account, Fate, Wish
from db.pool import OUTAGES, Connection
from outbox.client import AsyncClient, ClientError

OUTWARD = ("email", "sms", "push", "webhook")
PRIORITIES = ("normal", "normal", "urgent", "bulk")
USERS = 20
ROLLED_BACK = 0.15
INSERT = """
INSERT INTO notify.outbox (event_type, user_id, channels, priority, payload)
VALUES ('stack.order', $1, $2::text[], $3, $4::text::jsonb)
"""
CONTROL = "INSERT INTO chaos.written (title) VALUES ($1)"


@dataclass(slots=True)
class Load:
    """What all writers share. `failures`: requests that the client gave up, after its own retries."""

    account: Account = field(default_factory=Account)
    over: bool = False
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds that a request took, retries among them
    channels: Iterator[str] = field(default_factory=lambda: cycle(OUTWARD))

    def wish(self, *, by_http: bool = False) -> Wish:
        """One by in-app, and by each of the others in turn."""
        return self.account.wish(("inapp", next(self.channels)), by_http=by_http)


@dataclass(slots=True)
class SqlWriter:
    """One producer with a connection of its own, made anew after each outage."""

    name: str
    url: str
    load: Load
    dice: random.Random
    connection: Connection | None = None
    connections: "count[int]" = field(default_factory=lambda: count(1))
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    tag: str = ""  # this connection: what the order is checked by

    async def run(self, pause: float) -> None:
        while not self.load.over:
            began = monotonic()
            try:
                await self.transaction(await self.connected())
            except OUTAGES:
                await self.leave()  # what was not answered stays open, or unknown where a COMMIT was sent
            await asyncio.sleep(max(0.05, pause - (monotonic() - began)))
        await self.leave()

    async def connected(self) -> Connection:
        if self.connection is None or self.connection.is_closed():
            self.connection = await asyncpg.connect(self.url, timeout=5, command_timeout=10)
            self.tag = f"{self.name}.{next(self.connections)}"
        return self.connection

    async def leave(self) -> None:
        if self.connection is not None:
            self.connection.terminate()
            self.connection = None

    async def transaction(self, connection: Connection) -> None:
        wishes = [self.load.wish() for _ in range(self.dice.randint(1, 3))]
        await connection.execute("BEGIN")
        for wish in wishes:
            await connection.execute(CONTROL, wish.title)
            await connection.execute(INSERT, *self.row(wish))
        if self.dice.random() < ROLLED_BACK:
            await connection.execute("ROLLBACK")
            self.load.account.settle(wishes, Fate.ROLLED_BACK)
            return
        self.load.account.settle(wishes, Fate.UNKNOWN)
        await connection.execute("COMMIT")
        self.load.account.settle(wishes, Fate.COMMITTED)

    def row(self, wish: Wish) -> tuple[Any, ...]:
        payload = {"title": wish.title, "writer": self.tag, "n": next(self.numbers)}
        priority = self.dice.choice(PRIORITIES)
        return user(self.dice), list(wish.channels), priority, json.dumps(payload)


@dataclass(slots=True)
class HttpWriter:
    client: AsyncClient
    load: Load
    dice: random.Random

    async def run(self, pause: float) -> None:
        while not self.load.over:
            began = monotonic()
            await self.post(self.load.wish(by_http=True))
            took = monotonic() - began
            self.load.slowest = max(self.load.slowest, took)
            await asyncio.sleep(max(0.05, pause - took))

    async def post(self, wish: Wish) -> None:
        self.load.account.settle([wish], Fate.UNKNOWN)
        try:
            await self.client.notifications.create(
                event_type="stack.order",
                user_id=user(self.dice),
                channels=wish.channels,
                dedup_key=wish.title,
                payload={"title": wish.title, "writer": "", "n": 0},
            )
        except ClientError as error:
            self.load.failures.append(f"{type(error).__name__}: {error}")
        else:
            self.load.account.settle([wish], Fate.COMMITTED)


def user(dice: random.Random) -> str:
    return f"user{dice.randrange(USERS)}"
