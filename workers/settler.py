"""The end of the pipeline: results are gathered, settled in one transaction, or what was delivered inside Postgres in
one statement, and only then acknowledged.

Every step may be repeated: a settle is bound to its lease token, an acknowledgement to its entry id, and an entry
that is never acknowledged comes again and finds its delivery settled.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from db import delivery, rules
from db.delivery import Status, Undecodable
from db.pool import Executor, Pool, PooledConnection
from outbox.inbox_hints import spread
from outbox.log import get
from outbox.nodes import Nodes
from outbox.service import Stop, describe, run_loop, wait
from outbox.streams import GROUP
from workers import metrics, traced
from workers.counting import count, count_undecodable
from workers.digest import UNTOLD, untold
from workers.entries import Entry
from workers.job import Channel, Hint, Inward, Recording, Settled, Written

log = get("worker")

BATCH = 500
LINGER_SECONDS = 0.002
IDLE_SECONDS = 60.0
HINTS_A_CALL = 50
# A reply costs the client more than a PUBLISH costs Redis, so many share one; few enough that nobody waits for them.
PUBLISH = "for i = 1, #ARGV, 2 do redis.call('PUBLISH', ARGV[i], ARGV[i + 1]) end"


@dataclass(frozen=True, slots=True)
class Dropped:
    """An entry with nothing left to do. `user_id`: it was delivered before, perhaps without its hint."""

    entry_id: bytes
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """A claim under which nothing was sent: it is undone, and the entry is left pending."""

    entry: Entry
    token: UUID


Finished = Settled | Dropped | Undecodable | Returned


@dataclass(slots=True)
class Acks:
    """What is committed and not yet said to Redis. It is kept through a Redis outage."""

    hints: list[Hint] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)


class Settler:
    """Of one lane. `release` is told the ids of entries that this worker holds no longer; `shield` is for how many
    seconds a settle that has begun may go on after a cancellation."""

    def __init__(self, pool: Pool, nodes: Nodes, channel: Channel, stream: str, shield: float = 1.0) -> None:
        self.pool, self.nodes, self.channel, self.stream = pool, nodes, channel, stream
        self.inward = channel if isinstance(channel, Inward) else None
        self.shield = shield
        self.release: Callable[[Iterable[bytes]], None] = lambda _: None
        self.done = Stop()
        self.underway = 0  # attempts that may finish soon
        self._buffer: list[Finished] = []
        self._acks = Acks()
        self._wake = asyncio.Event()

    def add(self, finished: Finished) -> None:
        self._buffer.append(finished)
        self._wake.set()

    async def run(self) -> None:
        """Until `done` is asked for; then what is left."""
        await run_loop(f"settle {self.stream}", self.step, self._wake, self.done)
        while self._buffer or self._acks.ids:
            await self.flush()

    async def step(self) -> float:
        """Settle what has gathered. While one transaction runs the next batch gathers by itself; the short linger
        is for those that are about to finish."""
        if not self._buffer and not self._acks.ids:
            return IDLE_SECONDS
        if self.underway and len(self._buffer) < BATCH:
            await wait(self.done.asked, LINGER_SECONDS)
        await shielded(self.flush(), self.shield)
        return 0 if self._buffer else IDLE_SECONDS

    async def flush(self) -> None:
        batch = self._buffer[:BATCH]
        if not batch:
            await self.acknowledge()
            return
        async with self.pool.acquire() as connection:
            with metrics.SETTLE_SECONDS.labels(self.channel.name).time():
                for part in self.parts(batch):
                    await self.commit(connection, part)
            del self._buffer[: len(batch)]
            # Before the connection is given back: that is a round trip, which no hint should wait for.
            await self.acknowledge()

    def parts(self, batch: list[Finished]) -> list[list[Finished]]:
        """What is settled together: apart from the rest what an inward channel delivered."""
        if self.inward is None:
            return [batch]
        parts: dict[bool, list[Finished]] = {}
        for item in batch:
            parts.setdefault(delivered(item), []).append(item)
        return list(parts.values())

    async def commit(self, connection: PooledConnection, batch: Sequence[Finished]) -> None:
        """The results in one transaction. Should Postgres refuse what one of them holds, each gets its own, so that one
        bad result harms only itself: it is left pending, and comes again."""
        try:
            await self.settle(connection, batch)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError):
            for finished in batch:
                try:
                    await self.settle(connection, [finished])
                except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
                    log.error("worker.result_refused", stream=self.stream, error=describe(error))
                    self.release([entry_id(finished)])

    async def settle(self, connection: PooledConnection, batch: Sequence[Finished]) -> None:
        results = [item for item in batch if isinstance(item, Settled)]
        began = traced.now()
        left = await self.settle_unsent(connection, batch)
        written = await self.write(connection, results) if results else Written({}, [])
        hints = [*written.hints, *await self.again(connection, batch, written)]
        lost = [item for item in results if item.settlement.key not in written.fresh]
        count([item for item in results if written.fresh.get(item.settlement.key)], self.channel.name)
        traced.settled([item for item in results if item.settlement.key in written.fresh], began)
        self.note_lost(lost)
        left |= {item.job.entry.id for item in lost}
        self._acks.hints += hints
        self._acks.ids += [key for item in batch if (key := entry_id(item)) not in left]
        self.release(left)

    async def settle_unsent(self, connection: Executor, batch: Sequence[Finished]) -> set[bytes]:
        """What no attempt was made of, each kind in a transaction of its own: their locks, in order of id as everyone
        takes them, must not be held when settle takes its own. Gives the entries that are left pending."""
        name = self.channel.name
        returned = [item for item in batch if isinstance(item, Returned)]
        if returned:
            claims = [(item.entry.notification_id, item.token, item.entry.attempt) for item in returned]
            await delivery.give_back(connection, name, claims)
        left = {item.entry.id for item in returned}
        undecodable = [item for item in batch if isinstance(item, Undecodable)]
        if undecodable:
            held = await delivery.bury_undecodable(connection, name, self.stream, undecodable)
            left |= {key.encode() for key in held}
            count_undecodable([item for item in undecodable if item.entry_id not in held], name)
        return left

    async def write(self, connection: PooledConnection, results: Sequence[Settled]) -> Written:
        """The deliveries, and what follows from those of them that are still ours."""
        if self.inward is not None and delivered(results[0]):
            return await self.write_inward(connection, self.inward, results)
        name = self.channel.name
        async with connection.transaction():
            fresh = await delivery.settle(connection, name, [item.settlement for item in results])
            ours = [item for item in results if fresh.get(item.settlement.key)]
            settlements = [item.settlement for item in ours]
            await delivery.schedule_retries(connection, name, settlements)
            await delivery.bury(connection, name, self.stream, settlements)
            await self.digest(connection, ours)
            if ours and isinstance(self.channel, Recording):
                await self.channel.record(connection, ours)
        return Written(fresh, ())

    async def write_inward(
        self, connection: PooledConnection, channel: Inward, results: Sequence[Settled]
    ) -> Written:
        """A single statement, but where a digest is among them, whose items end with it."""
        if not any(item.job.claim.is_digest for item in results):
            return await channel.settle_delivered(connection, results)
        async with connection.transaction():
            written = await channel.settle_delivered(connection, results)
            await self.digest(
                connection, [item for item in results if written.fresh.get(item.settlement.key)]
            )
        return written

    async def digest(self, connection: Executor, ours: Sequence[Settled]) -> None:
        """What is to be told in a digest joins it; what was told in one ends with it."""
        await rules.collect(connection, self.channel.name, [item.settlement for item in ours])
        told = [item.settlement for item in ours if item.job.claim.is_digest]
        if ids := [one.notification_id for one in told if one.status is Status.DELIVERED]:
            await rules.finish_digests(connection, self.channel.name, ids)
        if ends := {one.notification_id: untold(one) for one in told if one.status in UNTOLD}:
            await rules.tell_ends(connection, self.channel.name, ends)

    async def again(
        self, connection: Executor, batch: Sequence[Finished], written: Written
    ) -> Sequence[Hint]:
        """Hints for what was delivered before: by another worker, or by a settle whose reply was lost."""
        users = {item.user_id for item in batch if isinstance(item, Dropped) and item.user_id is not None}
        for item in batch:
            if isinstance(item, Settled) and written.fresh.get(item.settlement.key) is False:
                users.add(item.job.entry.envelope.user_id)
        return await self.channel.again(connection, sorted(users)) if users else []

    async def acknowledge(self) -> None:
        """Hints, XACK and XDEL in one round trip; on a cluster the hints go to their own nodes before. If it fails all
        of it is said again: hints may come twice."""
        ids, hints = self._acks.ids, self._acks.hints
        if not ids:
            return
        if self.nodes.is_cluster and hints:
            await spread(self.nodes, by_channel(hints))
            hints = self._acks.hints = []  # a node that did not take its own must not repeat the others'
        async with self.nodes.at(self.stream) as redis:
            pipe = redis.pipeline(transaction=False)
            for start in range(0, len(hints), HINTS_A_CALL):
                page = hints[start : start + HINTS_A_CALL]
                pipe.eval(PUBLISH, 0, *(text for hint in page for text in (hint.channel, hint.message)))
            pipe.xack(self.stream, GROUP, *ids)
            pipe.xdel(self.stream, *ids)
            await pipe.execute()
        self._acks = Acks()
        self.release(ids)

    def note_lost(self, lost: Sequence[Settled]) -> None:
        """They belong to whoever took the deliveries over, and so do their entries."""
        if lost:
            metrics.LEASE_LOST.labels(self.channel.name).inc(len(lost))
            log.warning("worker.lease_lost", stream=self.stream, entries=len(lost))
            for item in lost:
                traced.abandon(item.job.span, "lease_lost")


def by_channel(hints: Sequence[Hint]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for hint in hints:
        found.setdefault(hint.channel, []).append(hint.message)
    return found


def delivered(finished: Finished) -> bool:
    return isinstance(finished, Settled) and finished.settlement.status is Status.DELIVERED


def entry_id(finished: Finished) -> bytes:
    match finished:
        case Settled():
            return finished.job.entry.id
        case Dropped():
            return finished.entry_id
        case Undecodable():
            return finished.entry_id.encode()
        case Returned():
            return finished.entry.id


async def shielded(work: Coroutine[object, object, None], seconds: float) -> None:
    """Await it; a cancellation does not cut it off between the commit and the acknowledgement."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=seconds)
        task.cancel()
        raise
