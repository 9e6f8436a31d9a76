"""Commits at random moments around the relay's falling asleep, and an audit of what found each of them.

A lost wake-up is easily covered up: the next commit wakes the relay as well. So the audit asks more than whether
the poll found something. What a sleeping relay finds must have notified by itself, commit by commit.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import asyncpg

from db.pool import Connection
from outbox.nodes import Nodes
from outbox.service import Stop, run_loop, wait
from outbox.settings import Settings
from relay import main as relay_main
from relay.listener import CHANNEL, Listener, cancelled
from relay.relay import Relay
from relay.wake import Mode, Sleep

LATE_SECONDS = 30.0  # half of what the poll takes
SOON_SECONDS = 2.0  # for a mutant, which is to be late
LONGEST_PAUSE_SECONDS = 0.005  # as long as the relay lingers
MOMENT_SECONDS = 0.2  # so long at most to wait for the relay to get somewhere
ISOLATION = ("read committed", "repeatable read", "serializable")
INSERT = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'u') RETURNING xid"
INSERT_FOR_LATER = """INSERT INTO notify.outbox (event_type, user_id, deliver_at)
                      VALUES ('a', 'u', clock_timestamp() + interval '5 ms')"""
FENCE = "wake_test"
TICKS = """SELECT x, (SELECT min(no) FROM notify.relay_ticks WHERE no > $2 AND pg_visible_in_snapshot(x, snapshot))
           FROM unnest($1::xid8[]) x"""


@dataclass(frozen=True, slots=True)
class Commit:
    """Made by the connection `pid`. Without an id it was for later: the outbox has it when it is due."""

    pid: int
    xid: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Found:
    """The look that made a tick: what the relay relied on when it began, and when the tick was whole in Redis."""

    mode: Mode
    cause: str
    at: float


@dataclass(slots=True)
class Watched:
    """A relay with the loops of relay.main, in this process. Notes what led to each tick."""

    relay: Relay
    listener: Listener
    found: dict[int, Found] = field(default_factory=dict)
    ticked: asyncio.Event = field(default_factory=asyncio.Event)
    modes: dict[Mode, asyncio.Event] = field(default_factory=lambda: {mode: asyncio.Event() for mode in Mode})
    times: Counter[Mode] = field(default_factory=Counter)  # it got into each mode

    @property
    def tick(self) -> int:
        return self.relay.ledger.tick.no if self.relay.ledger and self.relay.ledger.tick else 0

    async def step(self) -> float:
        self.relay.cause = relay_main.cause_of(self.relay, self.listener)
        mode, tick = self.relay.mode, self.tick
        pause = await self.relay.step()
        self.note(mode, self.relay.mode)
        if self.tick != tick:
            self.found[self.tick] = Found(mode, self.relay.cause, monotonic())
            self.ticked.set()
        return pause

    def note(self, before: Mode, now: Mode) -> None:
        if before is not now:
            self.times[now] += 1
            self.modes[before].clear()
            self.modes[now].set()


@asynccontextmanager
async def watching(settings: Settings, sleep: Sleep) -> AsyncIterator[Watched]:
    nodes = Nodes(settings.redis)
    relay = relay_main.build(settings, nodes)
    relay.sleep = sleep
    stop, wake = Stop(), asyncio.Event()
    watched = Watched(relay, Listener(settings.listen_database, wake))
    listening = asyncio.create_task(watched.listener.run())
    loop = asyncio.create_task(run_loop("relay", watched.step, wake, stop))
    try:
        yield watched
    finally:
        stop.ask()
        await loop
        await cancelled(listening)
        await relay.stop()
        await nodes.aclose()


@dataclass(slots=True)
class Ear:
    """Hears which connections notified the relay, up to a fence: notifications come in the order of commits."""

    conn: Connection
    pids: set[int] = field(default_factory=set)
    fence: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        await self.conn.add_listener(CHANNEL, self.on_notify)
        await self.conn.add_listener(FENCE, self.on_fence)

    async def take(self) -> set[int]:
        """Who has notified since the last call."""
        self.fence.clear()
        await self.conn.execute("SELECT pg_notify($1, '')", FENCE)
        assert await wait(self.fence, 60), "the test's own listener is deaf"
        pids, self.pids = self.pids, set()
        return pids

    def on_notify(self, _conn: Any, pid: int, _channel: str, _payload: object) -> None:
        self.pids.add(pid)

    def on_fence(self, *_: Any) -> None:
        self.fence.set()


@dataclass(slots=True)
class Producer:
    """One connection that commits at random moments: inserts early and commits late, or the other way about."""

    conn: Connection
    watched: Watched

    async def pause(self, *moments: Mode) -> None:
        """Any time, or about when the relay gets into one of these modes."""
        if moments and random.random() < 0.5:
            await wait(self.watched.modes[random.choice(moments)], MOMENT_SECONDS)
        await asyncio.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS))  # when, not for what

    async def commit(self) -> Commit:
        while True:
            await self.pause(Mode.AWAKE)
            try:
                xid = await self.transact()
            except asyncpg.SerializationError:
                continue
            return Commit(self.conn.get_server_pid(), xid, monotonic())

    async def transact(self) -> int | None:
        kind = random.choice(["single", "single", "plain", "plain", "savepoint", "lost savepoint", "later"])
        if kind == "single":
            return await self.insert()
        async with self.conn.transaction():
            if random.random() < 0.5:
                await self.conn.execute("SELECT 1")  # its snapshot is from before the insert
                await self.pause(Mode.FALLING, Mode.ASLEEP)
            xid = await self.write(kind)
            if random.random() < 0.5:
                await self.pause(Mode.FALLING)  # it does not fall asleep while this is open
        return xid

    async def write(self, kind: str) -> int | None:
        if kind == "later":
            await self.conn.execute(INSERT_FOR_LATER)
            return None
        if kind == "plain":
            return await self.insert()
        savepoint = self.conn.transaction()
        await savepoint.start()
        xid = await self.insert()
        if kind == "savepoint":
            await savepoint.commit()
            return xid
        await savepoint.rollback()  # and with it its notification
        await self.pause(Mode.FALLING)
        return await self.insert()

    async def insert(self) -> int:
        xid: int = await self.conn.fetchval(INSERT)
        return xid


@dataclass(slots=True)
class Trial:
    """A relay and its producers, which commit in volleys: one transaction each."""

    watched: Watched
    ear: Ear
    producers: list[Producer]
    admin: Connection
    late: float
    committed: int = 0

    async def volley(self) -> list[str]:
        """What is wrong with how its commits were found."""
        before = self.watched.tick
        commits = await asyncio.gather(*(producer.commit() for producer in self.producers))
        self.committed += len(commits)
        rows = {commit.xid: commit for commit in commits if commit.xid}
        found = await self.until_found(list(rows), before)
        notified = await self.ear.take()
        told = ((commit, found.get(xid)) for xid, commit in rows.items())
        return [why for commit, it in told if (why := offence(commit, it, notified, self.late))]

    async def until_found(self, xids: Sequence[int], after_tick: int) -> dict[int, Found]:
        """What found each transaction, as far as something did in time."""
        deadline = monotonic() + self.late
        while True:
            self.watched.ticked.clear()
            ticks = await self.admin.fetch(TICKS, xids, after_tick)
            found = {xid: self.watched.found[tick] for xid, tick in ticks if tick in self.watched.found}
            if len(found) == len(xids) or not await wait(self.watched.ticked, deadline - monotonic()):
                return found

    async def until_shipped(self) -> None:
        """All of it, and what was for later, too."""
        shipper, deadline = self.watched.relay.shipper, monotonic() + self.late
        stream = shipper.keys.stream("inapp")
        while (length := (await shipper.streams.state(stream)).length) < self.committed:
            self.watched.ticked.clear()
            assert await wait(self.watched.ticked, deadline - monotonic()), f"{length} of {self.committed}"
        assert length == self.committed


def offence(commit: Commit, found: Found | None, notified: set[int], late: float) -> str | None:
    if found is None:
        return f"{commit} was not found: only the poll is left"
    if found.cause == "poll":
        return f"{commit} was found by the poll"
    if found.mode is Mode.ASLEEP and commit.pid not in notified:
        return f"{commit} did not notify, and was found asleep, by another's wake-up"
    if found.at - commit.at > late:
        return f"{commit} was found after {found.at - commit.at:.1f} s"
    return None


@asynccontextmanager
async def trial(
    settings: Settings, admin: Connection, sleep: Sleep, producers: int, late: float = LATE_SECONDS
) -> AsyncIterator[Trial]:
    """With so many producers at each isolation level."""
    async with AsyncExitStack() as stack:

        async def connected(isolation: str) -> Connection:
            level = {"default_transaction_isolation": isolation}
            connection = await asyncpg.connect(settings.database, server_settings=level)
            stack.push_async_callback(connection.close)
            return connection

        ear = Ear(await connected("read committed"))
        await ear.listen()
        watched = await stack.enter_async_context(watching(settings, sleep))
        made = [Producer(await connected(level), watched) for level in ISOLATION for _ in range(producers)]
        yield Trial(watched, ear, made, admin, late)
