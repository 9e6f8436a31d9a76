"""Commit → entry readable, everything idle: the relay has fallen asleep before each sample."""

import asyncio
import json
import random
from contextlib import AsyncExitStack
from functools import partial

import asyncpg

from bench.drains import INAPP, consumer, prepared, stream_of
from bench.load import COLUMNS
from bench.measure import Arrivals
from bench.peers import Peer, payload
from bench.processes import Service, service
from bench.run import OURS, Goal, Result, Rounds, ahead, at_most, in_ms, of_rounds, order, percentile
from bench.servers import EMPTY
from bench.session import FAILURES, Session
from db.pool import Connection

GAP_SECONDS = (0.13, 0.23)  # longer than the relay lingers awake
BLOCKS = 5
EVERY = 5  # an alternative has one sample to so many of ours
INSERT = f"INSERT INTO notify.outbox ({COLUMNS}) VALUES ('bench.order', 'user1', '{{inapp}}', $1::jsonb)"
NOTIFIED = 'outbox_relay_wake_ups_total{cause="notify"}'


async def measure(session: Session) -> tuple[Result, list[Goal]]:
    """All consumers are up together, and idle, and are sampled in turns."""
    samples = session.pick(20, 1_000)
    async with AsyncExitStack() as stack:
        relay, ours = await our_own(session, stack)
        every = {OURS: ours}
        for peer in (session.textbook, *session.peers()):
            await add(session, stack, every, peer)
        before = await relay.metric(NOTIFIED)
        found = await blocks(session, every, samples)
        notified = await relay.metric(NOTIFIED) - before
    beside = [name for name in every if name != OURS]
    result = of_rounds(found, "ms", beside, [])
    result.figure = percentile(ours.seconds, 50) * 1000
    result.detail |= in_ms(ours.seconds) | {
        "samples": len(ours.seconds),
        "woken_by_notify": notified / len(ours.seconds),
        "alternatives": {name: in_ms(every[name].seconds) for name in beside if name in found},
    }
    return result, [
        at_most("p50 ms", result.figure, 2),
        at_most("p99 ms", result.detail["p99_ms"], 6),
        ahead(result.ratios, beside, lower_is_better=True),
    ]


async def our_own(session: Session, stack: AsyncExitStack) -> tuple[Service, Arrivals]:
    servers = await session.servers()
    database = await stack.enter_async_context(servers.fresh(EMPTY))
    redis = await stack.enter_async_context(servers.redis())
    relay = await stack.enter_async_context(service("relay", "relay", servers=servers, database=database))
    await relay.ready()
    conn = await connected(stack, database.producer)
    ours = Arrivals(redis, INAPP, partial(insert, conn))
    await warm(ours)
    return relay, ours


async def insert(conn: Connection, n: int) -> None:
    await conn.execute(INSERT, json.dumps(payload(n)))


async def connected(stack: AsyncExitStack, url: str) -> Connection:
    conn = await asyncpg.connect(url)
    stack.push_async_callback(conn.close)
    return conn


async def add(session: Session, stack: AsyncExitStack, every: dict[str, Arrivals], peer: Peer) -> None:
    """One more to be sampled, unless it does not come up."""
    try:
        servers, database = await session.servers_of(peer), await prepared(session, peer)
        process = await stack.enter_async_context(consumer(servers, database, peer))
        await process.ready()
        redis = await stack.enter_async_context(servers.redis())
        conn = await connected(stack, database.owner)
        await redis.delete(stream_of(peer))  # what an earlier case has left there
        theirs = Arrivals(redis, stream_of(peer), partial(peer.insert, conn))
        await warm(theirs)
    except FAILURES as error:
        session.leave_out(peer.name, error)
    else:
        every[peer.name] = theirs


async def warm(arrivals: Arrivals) -> None:
    """The first ones prepare statements and load code."""
    for _ in range(3):
        await arrivals.sample()
    arrivals.seconds.clear()


async def blocks(session: Session, every: dict[str, Arrivals], samples: int) -> Rounds:
    """The samples in five blocks; the p50 of each block, in ms, is what is compared."""
    found, size = Rounds(), samples // BLOCKS
    session.expect(samples)
    for _ in range(BLOCKS):
        start = {name: len(arrivals.seconds) for name, arrivals in every.items()}
        for number in range(size):
            session.step(f"sample of {size}")
            await sample(session, every, number)
        for name, arrivals in every.items():
            found.add(name, percentile(arrivals.seconds[start[name] :], 50) * 1000)
    return found


async def sample(session: Session, every: dict[str, Arrivals], number: int) -> None:
    """One of each whose turn it is, each alone."""
    names = list(every) if number % EVERY == 0 else [OURS]
    await asyncio.sleep(random.uniform(*GAP_SECONDS))
    for name in order(names, number // EVERY):
        try:
            await every[name].sample()
        except FAILURES as error:
            if name == OURS:
                raise
            session.leave_out(name, error)
            del every[name]
