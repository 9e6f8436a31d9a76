"""faststream-outbox: an outbox table relayed by FastStream, with leases, batched deletes and LISTEN."""

import json
from collections.abc import Mapping

from bench.peers import PAYLOAD_SQL, PYTHON, Peer, payload
from bench.peers.installed import CONSUMERS, missing_python, run
from db.pool import Connection, connect

CONSUMER = CONSUMERS / "faststream_outbox_consumer.py"

# What `publish_batch` and `publish` of 0.19 run: the rows, and one notification a transaction.
PUBLISH = """
INSERT INTO outbox (queue, payload, headers)
SELECT 'ship', convert_to(payload, 'UTF8'), jsonb_build_object(
    'content-type', 'application/json', 'correlation_id', gen_random_uuid())
FROM ({payloads}) AS input (payload)
"""
FILL = PUBLISH.format(payloads=f"SELECT ({PAYLOAD_SQL})::text FROM generate_series(1, $1::int) AS i")
INSERT = (
    f"WITH row AS ({PUBLISH.format(payloads='SELECT $1::text')}) SELECT pg_notify('outbox_outbox', 'ship')"
)


class FaststreamOutbox(Peer):
    def available(self) -> str | None:
        return missing_python("faststream_outbox")

    async def prepare(self, url: str, admin_url: str) -> None:
        """The project's own table, with the autovacuum settings of its docs/operations/alembic.md."""
        await run([PYTHON, CONSUMER, "install"], url)

    async def fill(self, url: str, rows: int) -> None:
        conn = await connect(url, name="bench")
        try:
            await conn.execute(FILL, rows)
            await conn.execute("ANALYZE outbox")
        finally:
            await conn.close()

    async def insert(self, conn: Connection, n: int) -> None:
        await conn.execute(INSERT, json.dumps(payload(n)))

    def command(self, env: Mapping[str, str]) -> list[str]:
        return [str(PYTHON), str(CONSUMER)]


PEER = FaststreamOutbox("faststream-outbox")
