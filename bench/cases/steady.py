"""A steady load for a minute (ten with LONG): does the relay keep up, how late is a row, and does anything grow.

What the producers can commit at all, with the machine to themselves, is measured beside it: a relay carries no more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import asyncpg

from bench.cases.latency import insert
from bench.cases.tax import bare, inserts
from bench.drains import INAPP, consumer, prepared, stream_of
from bench.load import CLIENTS, Committed, Load, pgbench
from bench.peers import PAYLOAD_SQL
from bench.processes import service
from bench.run import OURS, Goal, Result, Rounds, at_least, at_most, in_ms, of_rounds, percentile
from bench.session import Session
from bench.stream import Carried, Reader
from db.pool import Connection

RATE = 5_000
NEARLY = 0.98  # of the rate: pgbench draws its moments at random
SAMPLE_SECONDS = 0.02
WINDOWS = 5
LIMIT_SECONDS = 5
FIRST_PARTITION_ROWS = 1_000_000
SIZES = """
SELECT (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('notify.outbox'))::bigint AS outbox,
       (SELECT sum(pg_indexes_size(relid)) FROM pg_partition_tree('notify.outbox'))::bigint AS indexes,
       pg_total_relation_size('notify.relay_ticks') AS ticks,
       (SELECT count(*) FROM pg_partition_tree('notify.outbox') WHERE isleaf) AS partitions,
       pg_total_relation_size('notify.notifications') AS notifications
"""
TEXTBOOK_INTO = "outbox (event_type, user_id, payload)"
TEXTBOOK_ROW = f"'bench.order', 'user' || i % 1000, {PAYLOAD_SQL}"
Sizes = dict[str, int]


async def measure(session: Session) -> tuple[Result, list[Goal]]:
    seconds = session.pick(4, 60, 600)
    session.expect(2 * seconds)
    ours, sizes = await our_own(session, seconds)
    textbook = await of_textbook(session, min(seconds, 60))
    bounds = await limits(session)
    found = Rounds({OURS: ours.windows(WINDOWS), "textbook": textbook.windows(WINDOWS), **bounds.values})
    result = of_rounds(found, "rows/s", ["textbook"], bounds.values)
    result.detail |= in_ms(ours.lags) | {
        "seconds": seconds,
        "asked_rows_s": RATE,
        "committed_rows_s": ours.committed.rate,
        "committed_rows": ours.committed.rows,
        "relayed_rows": ours.relayed,
        "samples": len(ours.lags),
        "sizes": {"start": sizes[0], "end": sizes[-1], "peak_outbox": max(size["outbox"] for size in sizes)},
        "last_third_to_middle_third": growth(sizes),
        "textbook": in_ms(textbook.lags) | {"committed_rows_s": textbook.committed.rate},
    }
    return result, [
        at_least("commits/s", session.pick(None, ours.committed.rate), NEARLY * RATE),
        at_most("lag p99 ms", percentile(ours.lags, 99) * 1000, 100),
        at_most("growth", session.pick(None, growth(sizes)), 1.25),
    ]


async def limits(session: Session) -> Rounds:
    """Commits a second of the same clients as fast as they can, without a relay: into the product's outbox, and the
    same row into a table with nothing but a key."""
    servers = await session.servers()
    load = Load(session.pick(1, LIMIT_SECONDS), session.pick(4, CLIENTS))
    runs = {"outbox": partial(inserts, servers, "SELECT 1", load), "insert": partial(bare, servers, load)}
    return await session.alternate(runs)


def growth(sizes: list[Sizes]) -> float:
    """The log's highest size in the last third to that in the middle third. The first third is what the retention
    takes to fill up; partitions come and go whole, hence the highest."""
    third = max(1, len(sizes) // 3)
    return max(size["outbox"] for size in sizes[-third:]) / max(
        size["outbox"] for size in sizes[-2 * third : -third] or sizes
    )


def asked(session: Session, seconds: int) -> Load:
    return Load(seconds, session.pick(4, CLIENTS), RATE)


async def our_own(session: Session, seconds: int) -> tuple[Carried, list[Sizes]]:
    """Partitions of five seconds and a retention of eight, so that many are dropped meanwhile. The first one, which
    the migration made a million rows long, is all but behind us."""
    servers = await session.servers()
    short_lived = {"OUTBOX_PARTITION_ROWS": str(RATE * 5), "OUTBOX_RETENTION": "PT8S"}
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(servers.fresh())
        redis = await stack.enter_async_context(servers.redis())
        watch = await stack.enter_async_context(servers.admin(database.name))
        await watch.execute("SELECT setval('notify.outbox_id_seq', $1)", FIRST_PARTITION_ROWS - 1000)
        relay = await stack.enter_async_context(
            service("relay", "relay", servers=servers, database=database, **short_lived)
        )
        await relay.ready()
        producer = await asyncpg.connect(database.producer)
        stack.push_async_callback(producer.close)
        sizes: list[Sizes] = []
        watching = asyncio.create_task(watched(session, watch, sizes))
        load = partial(pgbench, servers, database, asked(session, seconds))
        carried = await carry(load, partial(insert, producer), Reader(redis, INAPP))
        watching.cancel()
        return carried, sizes


async def of_textbook(session: Session, seconds: int) -> Carried:
    """Without NOTIFY, polling: at such a rate that is the faster one."""
    servers, textbook = await session.servers(), replace(session.textbook, notify=False, poll_seconds=0.01)
    await servers.flush()
    database = await prepared(session, textbook)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(servers.redis())
        process = await stack.enter_async_context(consumer(servers, database, textbook))
        await process.ready()
        producer = await asyncpg.connect(database.owner)
        stack.push_async_callback(producer.close)
        load = partial(
            pgbench, servers, database, asked(session, seconds), into=TEXTBOOK_INTO, row=TEXTBOOK_ROW
        )
        reader = Reader(redis, stream_of(textbook))
        return await carry(load, partial(textbook.insert, producer), reader)


async def carry(
    load: Callable[[], Awaitable[Committed]], insert_one: Callable[[int], Awaitable[None]], reader: Reader
) -> Carried:
    """The load, and beside it a row of our own now and then, whose way is timed."""
    reading = asyncio.create_task(reader.run())
    loading = asyncio.ensure_future(load())
    while not loading.done() and not reading.done():
        await reader.sent(insert_one)
        await asyncio.sleep(SAMPLE_SECONDS)
    committed = await loading
    await reader.all_there(committed.rows)
    reading.cancel()
    return reader.carried(committed)


async def watched(session: Session, conn: Connection, sizes: list[Sizes]) -> None:
    """How big everything is, once a second."""
    while True:
        session.step("steady load")
        found = await conn.fetchrow(SIZES)
        assert found is not None
        sizes.append(dict(found))
        await asyncio.sleep(1)
