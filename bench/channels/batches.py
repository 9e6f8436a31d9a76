"""Batches: requests and connections that a thousand notifications take, beside one at a time; by turns, nothing fails.

SendGrid takes many letters in one request. FCM's HTTP v1 takes one message a request, so there it is many requests side
by side on one connection (HTTP/2). Every answer takes a while, as those of the real ones do.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from uuid import uuid4

import asyncpg
from rich.console import Console

from bench.channels.ground import SETTINGS, Ground
from bench.channels.report import grid
from bench.processes import all_of, service
from db.pool import Connection
from outbox.local.doubles.faults import Kind
from outbox.local.doubles.serving import Double
from workers.sendgrid import BATCH

ANSWER_SECONDS = 0.1
DONE_SECONDS = 600
# To 250 people of whom all have an address and one phone with FCM. No request of SendGrid's may name one twice.
INSERT = """
INSERT INTO notify.outbox (notification_id, event_type, user_id, channels, payload)
SELECT id, 'bench.batch', 'u' || 2 + 4 * (place % 250), ARRAY[$2::text], '{"title": "Order", "body": "On its way"}'
FROM unnest($1::uuid[]) WITH ORDINALITY AS r (id, place)
"""
OPEN = """
SELECT count(*) FROM unnest($1::uuid[]) AS n (id)
WHERE NOT EXISTS (SELECT FROM notify.deliveries d WHERE d.notification_id = n.id AND d.status = 'delivered')
"""


@dataclass(frozen=True, slots=True)
class Way:
    """`batch`: letters a request; `more`: settings of the worker that differ from the defaults."""

    name: str
    channel: str
    batch: int = BATCH
    more: Mapping[str, str] = field(default_factory=dict)


ALONE = {"OUTBOX_WORKER_CONCURRENCY": "1"}
WAYS = (
    Way("SendGrid, as by default", "email"),
    Way("SendGrid, a letter a request", "email", batch=1),
    Way("SendGrid, one at a time", "email", batch=1, more=ALONE),
    Way("FCM, as by default", "push"),
    Way("FCM, one at a time", "push", more=ALONE),
)


@dataclass(slots=True)
class Took:
    requests: int
    sent: int
    connections: int
    seconds: float


@dataclass(slots=True)
class Batches:
    rows: int
    answer_seconds: float = ANSWER_SECONDS
    ways: dict[str, Took] = field(default_factory=dict)


async def batches(made: Ground, rows: int, console: Console) -> Batches:
    found = Batches(rows)
    relay = service("relay", "relay", servers=made.servers, database=made.database)
    async with made.servers.admin(made.database.name) as conn, all_of(relay):
        for way in WAYS:
            console.print(way.name, highlight=False)
            found.ways[way.name] = await taken(made, conn, way, rows // 10 if way.more else rows)
    return found


async def taken(made: Ground, conn: Connection, way: Way, rows: int) -> Took:
    await made.configure("email", made.doubles.email("sendgrid", batch=way.batch))
    provider, double = on(made, way)
    double.menu.clear()
    double.menu.order(Kind.SLOW, times=None, seconds=ANSWER_SECONDS)
    env = {**SETTINGS, **made.doubles.secrets(), **way.more}
    worker = service("worker", "worker", way.channel, servers=made.servers, database=made.database, **env)
    async with all_of(worker):
        arrivals, ids = made.doubles.arrivals, [uuid4() for _ in range(rows)]
        requests, sent, connections = (
            arrivals.requests[provider],
            arrivals.counts.total(),
            double.front.connections,
        )
        began = monotonic()
        await commit(made.database.producer, ids, way.channel)
        async with asyncio.timeout(DONE_SECONDS):
            while await conn.fetchval(OPEN, ids):  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.02)
        seconds = round(monotonic() - began, 2)
    return Took(
        arrivals.requests[provider] - requests,
        arrivals.counts.total() - sent,
        double.front.connections - connections,
        seconds,
    )


def on(made: Ground, way: Way) -> tuple[str, Double]:
    if way.channel == "email":
        return "sendgrid", made.doubles.sendgrid.double
    return "fcm", made.doubles.fcm.double


async def commit(url: str, ids: Sequence[object], channel: str) -> None:
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(INSERT, ids, channel)
    finally:
        await conn.close()


def show_batches(found: Batches, console: Console) -> None:
    rows = {
        name: [
            each.sent,
            each.requests,
            round(each.requests / each.sent, 3),
            each.connections,
            each.seconds,
            round(each.sent / each.seconds, 1),
        ]
        for name, each in found.ways.items()
    }
    console.print(
        grid("way", ["sent", "requests", "requests ÷ sent", "connections", "seconds", "a second"], rows)
    )
