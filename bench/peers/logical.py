"""What the alternatives that read the log have in common: an outbox table, and a login that may replicate."""

import json
import uuid
from dataclasses import dataclass

from bench.peers import PAYLOAD_SQL, Peer, payload
from db.pool import Connection, connect


@dataclass(frozen=True)
class LogReader(Peer):
    """`columns` are those of its outbox table for id, kind and id of the aggregate, kind of the message, payload."""

    columns: str = ""
    logical: bool = True

    async def make(self, admin: Connection, admin_url: str) -> None:
        """Table, publication and slot, as superuser. The slot exists from here on, so that no backlog is missed."""
        raise NotImplementedError

    async def prepare(self, url: str, admin_url: str) -> None:
        admin, owner = await connect(admin_url, name="bench"), await connect(url, name="bench")
        try:
            name = await owner.fetchval("SELECT current_user")
            await self.make(admin, admin_url)
            await admin.execute(f'ALTER TABLE outbox OWNER TO "{name}"; ALTER ROLE "{name}" REPLICATION')
        finally:
            await admin.close()
            await owner.close()

    async def fill(self, url: str, rows: int) -> None:
        conn = await connect(url, name="bench")
        try:
            await conn.execute(
                f"INSERT INTO outbox ({self.columns}) SELECT gen_random_uuid(), 'order', i, 'shipped', {PAYLOAD_SQL}"
                " FROM generate_series(1, $1::int) AS i",
                rows,
            )
            await conn.execute("ANALYZE outbox")
        finally:
            await conn.close()

    async def insert(self, conn: Connection, n: int) -> None:
        await conn.execute(
            f"INSERT INTO outbox ({self.columns}) VALUES ($1, 'order', $2, 'shipped', $3::jsonb)",
            uuid.uuid4(),
            str(n),
            json.dumps(payload(n)),
        )
