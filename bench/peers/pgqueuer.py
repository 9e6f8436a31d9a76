"""pgqueuer: a Python job queue with SKIP LOCKED, statement-level NOTIFY and batched completion."""

import json
from collections.abc import Mapping
from pathlib import Path

from bench.peers import PAYLOAD_SQL, PYTHON, Peer, payload
from bench.peers.installed import CONSUMERS, missing_python, run
from db.pool import Connection, connect

# What `Queries.enqueue` of 1.6 runs: the job, and a line in the log.
ENQUEUE = """
WITH job AS (
    INSERT INTO pgqueuer (priority, entrypoint, payload, execute_after, status)
    SELECT 0, 'ship', payload, now(), 'queued' FROM ({payloads}) AS input (payload)
    RETURNING id, entrypoint, priority
)
INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority) SELECT id, 'queued', entrypoint, priority FROM job
"""
FILL = ENQUEUE.format(
    payloads=f"SELECT convert_to(({PAYLOAD_SQL})::text, 'UTF8') FROM generate_series(1, $1::int) AS i"
)
INSERT = ENQUEUE.format(payloads="SELECT $1::bytea")


class PgQueuer(Peer):
    def available(self) -> str | None:
        return missing_python("pgqueuer")

    async def prepare(self, url: str, admin_url: str) -> None:
        """As docs/guides/performance-tuning.md has it: `balanced` (about twice as fast; the queue itself stays
        durable, its log does not), and autovacuum for a queue."""
        pgq: list[str | Path] = [PYTHON, "-m", "pgqueuer"]
        await run([*pgq, "install", "--durability", "balanced"], url)
        await run([*pgq, "autovac"], url)

    async def fill(self, url: str, rows: int) -> None:
        conn = await connect(url, name="bench")
        try:
            await conn.execute(FILL, rows)
            await conn.execute("ANALYZE pgqueuer")
        finally:
            await conn.close()

    async def insert(self, conn: Connection, n: int) -> None:
        await conn.execute(INSERT, json.dumps(payload(n)).encode())

    def command(self, env: Mapping[str, str]) -> list[str]:
        return [str(PYTHON), str(CONSUMERS / "pgqueuer_consumer.py")]


PEER = PgQueuer("pgqueuer")
