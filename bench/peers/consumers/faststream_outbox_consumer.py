"""faststream-outbox → Redis stream, configured as docs/concepts/performance.md of the project says: terminal deletes
in batches of 100, large fetches, asyncpg (so that LISTEN wakes it), the table's autovacuum settings. Sizes are ours:
of 16 and 4 workers, fetches of 500 and 1,000, flushes of 100 and 500, alternated, no others were faster than these.

The handler adds to the stream itself. The project's relay decorator awaits one XADD a row and wraps the payload in
FastStream's own envelope. `install` as argument makes the table.
"""

import asyncio
import json
import sys
from typing import Any

import uvloop
from faststream_outbox import OutboxBroker, make_outbox_table, outbox_autovacuum_ddl
from sink import DATABASE_URL, Sink, ready, stop_signal
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

WORKERS = 16
LISTENING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
)

engine = create_async_engine(
    DATABASE_URL.replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=WORKERS + 2
)
metadata = MetaData()
table = make_outbox_table(metadata)


async def install() -> None:
    async with engine.begin() as conn:
        await conn.run_sync(metadata.create_all)
        await conn.execute(text(outbox_autovacuum_ddl(table.name, vacuum_cost_delay=0)))


async def listening(engine: AsyncEngine) -> None:
    async with asyncio.timeout(30), engine.connect() as conn:
        await conn.execution_options(isolation_level="AUTOCOMMIT")  # in a transaction the view stands still
        while not await conn.scalar(LISTENING):  # noqa: ASYNC110 – the broker tells nobody
            await asyncio.sleep(0.01)


async def main() -> None:
    sink = Sink()

    async def ship(body: dict[str, Any]) -> None:
        await sink.add(json.dumps(body))

    # No validation of a body that goes on as it came, no log line for each.
    broker = OutboxBroker(engine, outbox_table=table, apply_types=False, logger=None)
    broker.subscriber("ship", max_workers=WORKERS, fetch_batch_size=500, terminal_flush_batch_size=100)(ship)
    stop = stop_signal()
    async with broker:
        await listening(engine)
        ready()
        await stop.wait()


uvloop.run(install() if sys.argv[1:] == ["install"] else main())
