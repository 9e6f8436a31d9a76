"""The producers: transactions of every kind by plain SQL, and POSTs; each keeps account of what became of them."""

import asyncio
import json
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from time import monotonic
from typing import Any

import asyncpg
import httpx

from bench.chaos.account import Account, Fate, Wish
from bench.chaos.ground import HOST
from bench.chaos.stage import Stage
from db.pool import OUTAGES
from outbox.settings import Settings
from outbox.tokens import Scope, issue

ISOLATION = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
KINDS = {
    "plain": 10,
    "rolled back": 3,
    "savepoint": 2,
    "slow": 1,
    "prepared": 1,
    "prepared, rolled back": 0.3,
}
PRIORITIES = {"normal": 8, "urgent": 1, "bulk": 1}
USERS = 200
INSERT = """
INSERT INTO notify.outbox (event_type, user_id, channels, priority, payload)
SELECT 'chaos.order', w->>'user', ARRAY(SELECT jsonb_array_elements_text(w->'channels')), w->>'priority', w->'payload'
FROM jsonb_array_elements($1::text::jsonb) WITH ORDINALITY AS t (w, place) ORDER BY place
"""
CONTROL = "INSERT INTO chaos.written (title) SELECT unnest($1::text[])"
HTTP_TRIES = 40


@dataclass(slots=True)
class Plan:
    """What the writers are to do: so many notifications, spread over so many seconds."""

    rows: int
    seconds: float
    batch: int = 3  # notifications a transaction, at most
    mail_share: float = 0.4
    began_at: float = field(default_factory=monotonic)

    def early(self, committed: int) -> bool:
        return committed / self.rows > (monotonic() - self.began_at) / self.seconds


@dataclass(slots=True)
class Writer:
    """Shared by one producer's successive connections."""

    name: str
    stage: Stage
    account: Account
    plan: Plan
    dice: random.Random
    client: httpx.AsyncClient
    connection: "asyncpg.Connection[Any] | None" = None
    connections: "count[int]" = field(default_factory=lambda: count(1))
    tag: str = ""  # this connection: what the order is checked by
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def channels(self) -> tuple[str, ...]:
        return ("inapp", "email") if self.dice.random() < self.plan.mail_share else ("inapp",)

    def document(self, wish: Wish, tag: str) -> dict[str, Any]:
        return {
            "user": f"user{self.dice.randrange(USERS)}",
            "channels": wish.channels,
            "priority": pick(self.dice, PRIORITIES),
            "payload": {"title": wish.title, "writer": tag, "n": next(self.numbers)},
        }

    async def run(self, step: str) -> None:
        """`step` is "transaction" or "post"."""
        while self.account.committed < self.plan.rows:
            if self.plan.early(self.account.committed):
                await asyncio.sleep(self.dice.uniform(0, 0.03))
                continue
            await (self.transaction() if step == "transaction" else self.post())
        if self.connection is not None:
            self.connection.terminate()

    async def connected(self) -> "asyncpg.Connection[Any]":
        while True:
            if self.connection is not None and not self.connection.is_closed():
                return self.connection
            with suppress(*OUTAGES):
                url = self.stage.producer_url
                self.connection = await asyncpg.connect(url, timeout=5, command_timeout=10)
                self.tag = f"{self.name}.{next(self.connections)}"
                continue
            await asyncio.sleep(0.1)

    async def transaction(self) -> None:
        connection = await self.connected()
        wishes: list[Wish] = []
        try:
            await self.attempt(connection, wishes)
        except OUTAGES:
            connection.terminate()  # what was not answered stays open, or unknown where a COMMIT was sent

    async def attempt(self, connection: "asyncpg.Connection[Any]", wishes: list[Wish]) -> None:
        kind = pick(self.dice, KINDS)
        await connection.execute(f"BEGIN ISOLATION LEVEL {self.dice.choice(ISOLATION)}")
        tag = self.tag if not kind.startswith("prepared") else ""  # committed later, by whom it may be
        await self.insert(connection, wishes, tag)
        if kind == "savepoint":
            doomed: list[Wish] = []
            await connection.execute("SAVEPOINT s")
            await self.insert(connection, doomed, tag)
            await connection.execute("ROLLBACK TO SAVEPOINT s")
            self.account.settle(doomed, Fate.ROLLED_BACK)
            await self.insert(connection, wishes, tag)
        if kind == "slow":
            await asyncio.sleep(self.dice.uniform(0.3, 4))
        if kind == "rolled back":
            await connection.execute("ROLLBACK")
            self.account.settle(wishes, Fate.ROLLED_BACK)
        elif kind.startswith("prepared"):
            await self.in_two_phases(connection, wishes, kind == "prepared")
        else:
            self.account.settle(wishes, Fate.UNKNOWN)
            await connection.execute("COMMIT")
            self.account.settle(wishes, Fate.COMMITTED)

    async def insert(self, connection: "asyncpg.Connection[Any]", wishes: list[Wish], tag: str) -> None:
        new = [self.account.wish(self.channels()) for _ in range(self.dice.randint(1, self.plan.batch))]
        wishes += new
        await connection.execute(CONTROL, [wish.title for wish in new])
        await connection.execute(INSERT, json.dumps([self.document(wish, tag) for wish in new]))

    async def in_two_phases(
        self, connection: "asyncpg.Connection[Any]", wishes: list[Wish], commit: bool
    ) -> None:
        """A prepared transaction outlives every crash. It is decided once, however often that must be said."""
        gid = wishes[0].title
        self.account.settle(wishes, Fate.UNKNOWN)
        with suppress(*OUTAGES):
            await connection.execute(f"PREPARE TRANSACTION '{gid}'")
            await asyncio.sleep(self.dice.uniform(0, 2))
        if await self.decided(gid, "COMMIT" if commit else "ROLLBACK"):
            self.account.settle(wishes, Fate.COMMITTED if commit else Fate.ROLLED_BACK)

    async def decided(self, gid: str, decision: str) -> bool:
        """Whether it was said and answered. Where it cannot be found, an answer was lost: the database tells."""
        while True:
            connection = await self.connected()
            try:
                known = "SELECT true FROM pg_prepared_xacts WHERE gid = $1"
                if not await connection.fetchval(known, gid):
                    return False
                await connection.execute(f"{decision} PREPARED '{gid}'")
            except (asyncpg.ObjectInUseError, asyncpg.UndefinedObjectError):
                await asyncio.sleep(0.05)  # an earlier connection is still at it
            except OUTAGES:
                connection.terminate()
            else:
                return True

    async def post(self) -> None:
        """Until it is taken, as the API's own advice goes: again, with the same dedup_key."""
        wish = self.account.wish(self.channels(), by_http=True)
        document = self.document(wish, "")
        user = document.pop("user")
        body = {"event_type": "chaos.order", "user_id": user, "dedup_key": wish.title, **document}
        self.account.settle([wish], Fate.UNKNOWN)
        for _ in range(HTTP_TRIES):
            with suppress(httpx.TransportError):
                answer = await self.client.post("/v1/notifications", json=body)
                if answer.status_code == 202:
                    self.account.settle([wish], Fate.COMMITTED)
                    return
                if answer.status_code < 500:
                    raise RuntimeError(f"the API refused a notification: {answer.text}")
            await asyncio.sleep(self.dice.uniform(0.1, 0.5))


def client_of(stage: Stage) -> httpx.AsyncClient:
    token = issue(settings_of(stage), "chaos", Scope.PRODUCER, timedelta(days=30))
    return httpx.AsyncClient(
        base_url=f"http://{HOST}:{stage.proxies['api.http'].port}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=5,
        verify=False,
    )


def settings_of(stage: Stage) -> Settings:
    """As the API has them: for tokens that it takes."""
    environment = stage.environment("api")
    return Settings.model_validate(
        {
            "DATABASE_URL": environment["DATABASE_URL"],
            "REDIS_URL": environment["REDIS_URL"],
            "jwt_secret": environment["OUTBOX_JWT_SECRET"],
        }
    )


def pick(dice: random.Random, weights: Mapping[str, float]) -> str:
    return dice.choices(list(weights), list(weights.values()))[0]
