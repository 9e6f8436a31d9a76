"""pgqueuer → Redis stream, configured as docs/guides/performance-tuning.md and tools/benchmark.py of the project do:
asyncpg, one plain connection for the queue manager, uvloop. The guide ("Batch size") says to raise the batch for
short jobs and names no bound: of 100, 500, 1,000 and 2,000, alternated, the last was the fastest in each round.
"""

import asyncio
import contextlib
from datetime import timedelta

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.errors import FailingListenerError
from pgqueuer.models import Job
from sink import DATABASE_URL, Sink, ready, stop_signal

BATCH = 2_000


async def listening(queuer: PgQueuer) -> None:
    """Returns when a notification has come back to it."""
    for _ in range(100):
        with contextlib.suppress(FailingListenerError):
            await queuer.qm.listener_healthy(timedelta(seconds=0.1))
            return
    raise FailingListenerError


async def main() -> None:
    sink = Sink()

    async def ship(job: Job) -> None:
        await sink.add(job.payload or b"")

    stop = stop_signal()
    queuer = PgQueuer(AsyncpgDriver(await asyncpg.connect(DATABASE_URL)))
    queuer.entrypoint("ship")(ship)
    running = asyncio.create_task(queuer.run(batch_size=BATCH))
    await listening(queuer)
    ready()
    await stop.wait()
    queuer.shutdown.set()
    await running


uvloop.run(main())
