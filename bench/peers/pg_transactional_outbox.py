"""pg-transactional-outbox: a Node outbox whose listener reads the WAL."""

import json
import uuid
from collections.abc import Mapping

from bench.peers import PAYLOAD_SQL, Peer, payload
from bench.peers.installed import CONSUMERS, NODE, missing_node, run
from db.pool import Connection, connect

CONSUMER = CONSUMERS / "pg_transactional_outbox.mjs"
COLUMNS = "INSERT INTO outbox (id, aggregate_type, aggregate_id, message_type, payload)"
FILL = f"""
{COLUMNS} SELECT gen_random_uuid(), 'order', i, 'shipped', {PAYLOAD_SQL} FROM generate_series(1, $1::int) AS i
"""
INSERT = f"{COLUMNS} VALUES ($1, 'order', $2, 'shipped', $3::jsonb)"


class PgTransactionalOutbox(Peer):
    def available(self) -> str | None:
        return missing_node("pg-transactional-outbox")

    async def prepare(self, url: str, admin_url: str) -> None:
        """The table, publication and slot of the project's own setup."""
        await run([NODE, CONSUMER, "install"], admin_url)
        admin, owner = await connect(admin_url, name="bench"), await connect(url, name="bench")
        try:
            name = await owner.fetchval("SELECT current_user")
            await admin.execute(f'ALTER TABLE outbox OWNER TO "{name}"; ALTER ROLE "{name}" REPLICATION')
        finally:
            await admin.close()
            await owner.close()

    async def fill(self, url: str, rows: int) -> None:
        conn = await connect(url, name="bench")
        try:
            await conn.execute(FILL, rows)
            await conn.execute("ANALYZE outbox")
        finally:
            await conn.close()

    async def insert(self, conn: Connection, n: int) -> None:
        await conn.execute(INSERT, uuid.uuid4(), str(n), json.dumps(payload(n)))

    def command(self, env: Mapping[str, str]) -> list[str]:
        return [str(NODE), str(CONSUMER)]


PEER = PgTransactionalOutbox("pg-transactional-outbox", backlog=5_000, logical=True)
