"""graphile-worker: a Node job queue with a local queue, batched completion and NOTIFY."""

import json
from collections.abc import Mapping

from bench.peers import NODE_MODULES, PAYLOAD_SQL, Peer, payload
from bench.peers.installed import CONSUMERS, NODE, missing_node, run
from db.pool import Connection, connect

# What `addJobs` of 0.18 runs.
FILL = f"""
SELECT count(*) FROM graphile_worker.add_jobs((
    SELECT array_agg(('ship', ({PAYLOAD_SQL})::json, NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec)
    FROM generate_series(1, $1::int) AS i
))
"""
INSERT = "SELECT graphile_worker.add_job('ship', $1::json)"


class GraphileWorker(Peer):
    def available(self) -> str | None:
        return missing_node("graphile-worker")

    async def prepare(self, url: str, admin_url: str) -> None:
        program = NODE_MODULES / "graphile-worker" / "dist" / "cli.js"
        await run([NODE, program, "--schema-only", "--connection", url], url)

    async def fill(self, url: str, rows: int) -> None:
        conn = await connect(url, name="bench")
        try:
            await conn.execute(FILL, rows)
            await conn.execute("ANALYZE graphile_worker._private_jobs")
        finally:
            await conn.close()

    async def insert(self, conn: Connection, n: int) -> None:
        await conn.execute(INSERT, json.dumps(payload(n)))

    def command(self, env: Mapping[str, str]) -> list[str]:
        return [str(NODE), str(CONSUMERS / "graphile_worker.mjs")]


PEER = GraphileWorker("graphile-worker")
