"""procrastinate: a Python task queue on psycopg, with LISTEN and one SKIP LOCKED fetch a job."""

import json
from collections.abc import Mapping

from bench.peers import PAYLOAD_SQL, PYTHON, Peer, payload
from bench.peers.installed import CONSUMERS, SITE_PACKAGES, missing_python
from db.pool import Connection, connect

SCHEMA = SITE_PACKAGES / "procrastinate" / "sql" / "schema.sql"

# What `Task.batch_defer` and `Task.defer` of 3.10 run, with the payload as the task's one argument.
DEFER = """
SELECT count(*) FROM unnest(procrastinate_defer_jobs_v1((
    SELECT array_agg((
        'ship', 'ship', 0, NULL, NULL, jsonb_build_object('payload', payload), NULL
    )::procrastinate_job_to_defer_v1) FROM ({payloads}) AS input (payload)
)))
"""
FILL = DEFER.format(payloads=f"SELECT ({PAYLOAD_SQL})::text FROM generate_series(1, $1::int) AS i")
INSERT = DEFER.format(payloads="SELECT $1::text")


class Procrastinate(Peer):
    def available(self) -> str | None:
        return missing_python("procrastinate")

    async def prepare(self, url: str, admin_url: str) -> None:
        conn = await connect(url, name="bench")
        try:
            await conn.execute(SCHEMA.read_text())
        finally:
            await conn.close()

    async def fill(self, url: str, rows: int) -> None:
        conn = await connect(url, name="bench")
        try:
            await conn.execute(FILL, rows)
            await conn.execute("ANALYZE procrastinate_jobs")
        finally:
            await conn.close()

    async def insert(self, conn: Connection, n: int) -> None:
        await conn.execute(INSERT, json.dumps(payload(n)))

    def command(self, env: Mapping[str, str]) -> list[str]:
        return [str(PYTHON), str(CONSUMERS / "procrastinate_consumer.py")]


PEER = Procrastinate("procrastinate", backlog=5_000)
