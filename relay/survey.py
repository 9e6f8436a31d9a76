"""What Prometheus is told of tables and servers. It is the same whoever asks, so every relay tells it, a standby too,
and rules take the highest. Where it cannot be asked it is not told: an old figure would look like a good one."""

import asyncio
from collections.abc import Mapping
from typing import Any

from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from db import survey as sql
from db.pool import OUTAGES, Pool
from outbox.log import get
from outbox.nodes import Nodes
from outbox.service import describe

log = get("relay")

EVERY_SECONDS = 5.0
REFUSED_SECONDS = 300.0
SILENCE_SECONDS = 5.0
COUNTED = 10_000
FIRST = 1_000  # rows among which the oldest one is looked for
KEY_DAYS, KEYS = 30, 20
NOTHING = float("nan")

OLDEST_ROW = Gauge(
    "outbox_relay_oldest_row_seconds",
    "For how long the oldest row of a producer has waited that no tick holds.",
)
DEAD_LETTERS = Gauge("outbox_dead_letters_open", "Open dead letters; 10,000: or more.", ["channel"])
SCHEDULED = Gauge("outbox_scheduled_rows", "Rows that wait for their time; 10,000: or more.")
OVERDUE = Gauge("outbox_scheduled_overdue_rows", "Rows whose time has come; 10,000: or more.")
OVERDUE_SECONDS = Gauge("outbox_scheduled_overdue_seconds", "For how long the first of them has been due.")
NOTIFY_QUEUE = Gauge(
    "outbox_postgres_notify_queue_ratio", "How full Postgres' queue of notifications is: 0 to 1."
)
CONNECTIONS = Gauge("outbox_postgres_connections", "Connections of the whole server.")
CONNECTIONS_MAX = Gauge(
    "outbox_postgres_max_connections", "How many there may be, without the reserved ones."
)
KEY_ENDS = Gauge(
    "outbox_api_key_expiry_timestamp_seconds",
    "When an API key ends, of those that do within 30 days.",
    ["key", "name"],
)
MEMORY = Gauge("outbox_redis_memory_used_bytes", "What Redis uses.", ["node"])
MEMORY_MAX = Gauge(
    "outbox_redis_memory_max_bytes", "Where it takes no more; 0: wherever the machine ends.", ["node"]
)
AOF = Gauge("outbox_redis_aof_enabled", "1: every write goes to a log on disk.", ["node"])
WRITES_OK = Gauge(
    "outbox_redis_last_write_ok", "0: the last write of the log or of a snapshot failed.", ["node"]
)
EVICTS = Gauge(
    "outbox_redis_evicts", "1: Redis throws keys away when it is full, streams among them.", ["node"]
)
CLIENTS = Gauge("outbox_redis_connected_clients", "Connections of this node.", ["node"])
OF_NODES = (MEMORY, MEMORY_MAX, AOF, WRITES_OK, EVICTS, CLIENTS)
OF_POSTGRES = (OLDEST_ROW, SCHEDULED, OVERDUE, OVERDUE_SECONDS, NOTIFY_QUEUE, CONNECTIONS, CONNECTIONS_MAX)


class Survey:
    def __init__(self, pool: Pool, nodes: Nodes) -> None:
        self.pool, self.nodes = pool, nodes

    async def postgres(self) -> float:
        try:
            async with asyncio.timeout(SILENCE_SECONDS), self.pool.acquire() as conn:
                await look_at_tables(conn)
        except OUTAGES:
            forget_tables()
            raise
        return EVERY_SECONDS

    async def redis(self) -> float:
        try:
            nodes = await self.nodes.each()
            async with asyncio.timeout(SILENCE_SECONDS):
                told = await asyncio.gather(*(ask(*node) for node in nodes))
        except ResponseError as error:  # INFO is not for this login
            forget_nodes()
            log.warning("relay.redis_not_surveyed", error=describe(error))
            return REFUSED_SECONDS
        except (RedisError, OSError, TimeoutError):
            forget_nodes()
            raise
        forget_nodes()
        for name, memory, persistence, clients in told:
            tell(name, {**memory, **persistence, **clients})
        return EVERY_SECONDS


async def look_at_tables(conn: Any) -> None:
    letters = await sql.dead_letters(conn, COUNTED)
    scheduled, server = await sql.scheduled(conn, COUNTED), await sql.server(conn)
    keys, oldest = await sql.ending_keys(conn, KEY_DAYS, KEYS), await sql.oldest_row(conn, FIRST)
    forget_tables()
    OLDEST_ROW.set(max(oldest or 0, 0))
    for letter in letters:
        DEAD_LETTERS.labels(letter["channel"]).set(letter["count"])
    SCHEDULED.set(scheduled["waiting"])
    OVERDUE.set(scheduled["overdue"])
    OVERDUE_SECONDS.set(scheduled["overdue_seconds"] or 0)
    NOTIFY_QUEUE.set(server["notify_queue"])
    CONNECTIONS.set(server["connections"])
    CONNECTIONS_MAX.set(server["most"])
    for key in keys:
        KEY_ENDS.labels(key["id"], key["name"]).set(key["expires_at"])


def forget_tables() -> None:
    DEAD_LETTERS.clear()
    KEY_ENDS.clear()
    for gauge in OF_POSTGRES:
        gauge.set(NOTHING)


async def ask(
    name: str, client: Redis
) -> tuple[str, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]:
    return name, await client.info("memory"), await client.info("persistence"), await client.info("clients")


def tell(node: str, info: Mapping[str, Any]) -> None:
    MEMORY.labels(node).set(info["used_memory"])
    MEMORY_MAX.labels(node).set(info["maxmemory"])
    AOF.labels(node).set(info["aof_enabled"])
    written = info["aof_last_write_status"], info["rdb_last_bgsave_status"]
    WRITES_OK.labels(node).set(written == ("ok", "ok"))
    EVICTS.labels(node).set(info["maxmemory_policy"] != "noeviction")
    CLIENTS.labels(node).set(info["connected_clients"])


def forget_nodes() -> None:
    for gauge in OF_NODES:
        gauge.clear()
