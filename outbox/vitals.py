"""What every process tells Prometheus of itself: what it is, and whether Postgres and Redis answer it, how fast."""

import asyncio
from importlib.metadata import version
from time import monotonic

from prometheus_client import Counter, Gauge, Histogram
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db.notifications import ping
from db.pool import OUTAGES, Pool
from outbox.nodes import Nodes

EVERY_SECONDS = 5.0
SILENCE_SECONDS = 5.0
ROUND_TRIP = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

BUILD = Gauge("outbox_build_info", "Always 1: what this process is.", ["component", "version"])
POSTGRES_UP = Gauge("outbox_postgres_up", "1 while Postgres answers this process within five seconds.")
POSTGRES_PING = Histogram(
    "outbox_postgres_ping_seconds", "One round trip to Postgres, every five seconds.", buckets=ROUND_TRIP
)
POSTGRES_SILENT = Counter("outbox_postgres_pings_failed_total", "Round trips to Postgres that failed.")
POOL = Gauge("outbox_postgres_pool_connections", "Connections of the pool, by what they do.", ["state"])
POOL_MAX = Gauge("outbox_postgres_pool_max_connections", "How many connections the pool may have.")
POOL_WAIT = Histogram(
    "outbox_postgres_pool_wait_seconds",
    "How long a look, like any other work, waited for a connection of the pool.",
    buckets=ROUND_TRIP,
)
REDIS_UP = Gauge("outbox_redis_up", "1 while this node of Redis answers this process.", ["node"])
REDIS_PING = Histogram(
    "outbox_redis_ping_seconds", "One round trip to Redis, every five seconds.", buckets=ROUND_TRIP
)
REDIS_SILENT = Counter("outbox_redis_pings_failed_total", "Round trips to Redis that failed.")


class Vitals:
    """Of one process; `component` is what it is called: api, relay, worker or gateway."""

    def __init__(self, component: str, pool: Pool, nodes: Nodes) -> None:
        self.pool, self.nodes = pool, nodes
        BUILD.labels(component, version("outbox")).set(1)
        POOL_MAX.set(pool.get_max_size())
        POOL.labels("idle").set_function(pool.get_idle_size)
        POOL.labels("in_use").set_function(lambda: pool.get_size() - pool.get_idle_size())

    async def step(self) -> float:
        await asyncio.gather(self.look_at_postgres(), self.look_at_redis())
        return EVERY_SECONDS

    async def look_at_postgres(self) -> None:
        """A pool without a free connection is silent, too: whoever needs one waits as this look does."""
        began = monotonic()
        try:
            async with asyncio.timeout(SILENCE_SECONDS), self.pool.acquire() as conn:
                asked = monotonic()
                await ping(conn)
        except OUTAGES:
            POSTGRES_UP.set(0)
            POSTGRES_SILENT.inc()
        else:
            POSTGRES_UP.set(1)
            POOL_WAIT.observe(asked - began)
            POSTGRES_PING.observe(monotonic() - asked)

    async def look_at_redis(self) -> None:
        try:
            nodes = await self.nodes.each()
        except (RedisError, OSError):  # of a cluster: nobody says which nodes there are
            REDIS_SILENT.inc()
            for name in known() or map(str, self.nodes.seeds):
                REDIS_UP.labels(name).set(0)
            return
        forget_others({name for name, _ in nodes})
        await asyncio.gather(*(look_at_node(*node) for node in nodes))


async def look_at_node(name: str, client: Redis) -> None:
    asked = monotonic()
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            await client.ping()
    except (RedisError, OSError, TimeoutError):
        REDIS_UP.labels(name).set(0)
        REDIS_SILENT.inc()
    else:
        REDIS_UP.labels(name).set(1)
        REDIS_PING.observe(monotonic() - asked)


def known() -> list[str]:
    """The nodes that were looked at last."""
    return [sample.labels["node"] for sample in next(iter(REDIS_UP.collect())).samples]


def forget_others(names: set[str]) -> None:
    """A node that has left the cluster is not down."""
    for node in known():
        if node not in names:
            REDIS_UP.remove(node)
