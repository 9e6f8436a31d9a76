"""procrastinate → Redis stream, configured as the project's guides say (docs/howto/concurrency.md,
docs/howto/production/delete_finished_jobs.md): async tasks, many at once, finished jobs deleted by the worker,
LISTEN on, a psycopg pool that is large enough, log lines for each job off.

A worker fetches one job at a time, so several share the process, as the guide suggests for throughput.
"""

import asyncio
import logging

import uvloop
from procrastinate import App, PsycopgConnector
from sink import DATABASE_URL, Sink, ready, stop_signal

WORKERS = 4
CONCURRENCY = 30  # the guide's
LISTENING = """
SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%%'
"""


async def listening(connector: PsycopgConnector) -> None:
    async with asyncio.timeout(30):
        while (await connector.execute_query_one_async(LISTENING))["n"] < WORKERS:  # noqa: ASYNC110 – nor does it tell
            await asyncio.sleep(0.01)


async def main() -> None:
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    sink = Sink()
    connector = PsycopgConnector(conninfo=DATABASE_URL, min_size=WORKERS * 5, max_size=WORKERS * 5)
    app = App(connector=connector)

    async def ship(payload: str) -> None:
        await sink.add(payload)

    app.task(name="ship", queue="ship")(ship)
    stop = stop_signal()
    async with app.open_async():
        workers = [
            asyncio.create_task(
                app.run_worker_async(
                    concurrency=CONCURRENCY, delete_jobs="successful", install_signal_handlers=False
                )
            )
            for _ in range(WORKERS)
        ]
        await listening(connector)
        ready()
        await stop.wait()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


uvloop.run(main())
