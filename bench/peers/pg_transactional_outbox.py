"""pg-transactional-outbox: a Node outbox whose listener reads the WAL."""

from collections.abc import Mapping

from bench.peers.installed import CONSUMERS, NODE, missing_node, run
from bench.peers.logical import LogReader
from db.pool import Connection

CONSUMER = CONSUMERS / "pg_transactional_outbox.mjs"


class PgTransactionalOutbox(LogReader):
    def available(self) -> str | None:
        return missing_node("pg-transactional-outbox")

    async def make(self, admin: Connection, admin_url: str) -> None:
        """By the project's own setup."""
        await run([NODE, CONSUMER, "install"], admin_url)

    def command(self, env: Mapping[str, str]) -> list[str]:
        return [str(NODE), str(CONSUMER)]


PEER = PgTransactionalOutbox(
    "pg-transactional-outbox",
    backlog=5_000,
    columns="id, aggregate_type, aggregate_id, message_type, payload",
)
