"""Rows into the outbox: a backlog at once, or many clients with one row a transaction (pgbench)."""

import asyncio
import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from bench.peers import PAYLOAD_SQL
from bench.servers import EMPTY, Database, Servers
from db.pool import Connection

CLIENTS = 32
ROW = f"'bench.order', 'user' || i % 1000, '{{channels}}', {PAYLOAD_SQL}"
COLUMNS = "event_type, user_id, channels, payload"
# A transaction a row, as producers write them: DO may commit where it is a statement of its own.
FILL = """
DO $do$ BEGIN
  FOR i IN {first}..{last} LOOP
    INSERT INTO notify.outbox ({columns}) VALUES ({row});
    COMMIT;
  END LOOP;
END $do$
"""
IDLE = "INSERT INTO notify.channels (name, kind) SELECT 'idle-' || i, 'webhook' FROM generate_series(1, $1::int) i"
IDLE_ROWS = (
    f"INSERT INTO notify.outbox ({COLUMNS})"
    " SELECT 'bench.idle', 'user1', ARRAY['idle-' || i], '{}' FROM generate_series(1, $1::int) i"
)
SCRIPT = "\\set i random(1, 1000000)\nINSERT INTO {into} SELECT {row} FROM (VALUES (:i::int)) v(i);\n"
OURS_INTO = f"notify.outbox ({COLUMNS})"
COMMITTED = re.compile(r"actually processed: (\d+).*^tps = ([\d.]+)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Load:
    """So many clients for so many seconds, as fast as they can or at a rate (rows a second, all together)."""

    seconds: int
    clients: int = CLIENTS
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """How many rows, and how many a second once all clients were connected."""

    rows: int
    rate: float


async def fill(
    conn: Connection, rows: int, channels: str = "inapp", *, first: int = 1, accepted: bool = False
) -> None:
    """As superuser. Unless the rows are to be `accepted`, the log alone is written, which is all that a relay
    reads; that halves the time, and nothing else."""
    await conn.execute("SET synchronous_commit = off")
    if not accepted:
        await conn.execute("SET session_replication_role = replica")
    row = ROW.format(channels=f"{{{channels}}}")
    await conn.execute(FILL.format(first=first, last=first + rows - 1, columns=COLUMNS, row=row))
    await conn.execute("RESET session_replication_role")
    await conn.execute("RESET synchronous_commit")


async def filled(
    servers: Servers, name: str, rows: int, channels: str = "inapp", *, idle: int = 0, accepted: bool = False
) -> str:
    """A database with a backlog, to be copied from; before it, a row for each of `idle` further channels."""
    await servers.create(name, EMPTY)
    async with servers.admin(name) as conn:
        if idle:
            await conn.execute(IDLE, idle)
            await conn.execute(IDLE_ROWS, idle)
        await fill(conn, rows, channels, accepted=accepted)
        await conn.execute("VACUUM ANALYZE")
    return name


async def pgbench(
    servers: Servers,
    database: Database,
    load: Load,
    *,
    into: str = OURS_INTO,
    row: str = ROW.format(channels="{inapp}"),
) -> Committed:
    """One row a transaction, each waited for."""
    script = servers.folder / f"insert-{abs(hash(into + row)):x}.sql"
    script.write_text(SCRIPT.format(into=into, row=row))
    url = urlsplit(database.producer if into == OURS_INTO else database.owner)
    env = os.environ | {
        "PGHOST": url.hostname or "",
        "PGPORT": str(url.port),
        "PGUSER": url.username or "",
        "PGPASSWORD": unquote(url.password or ""),
        "PGDATABASE": database.name,
    }
    arguments = ["-n", "-M", "prepared", "-c", str(load.clients), "-j", "2", "-T", str(load.seconds)]
    arguments += [f"--rate={load.rate}"] if load.rate else []
    process = await asyncio.create_subprocess_exec(
        servers.pgbench, *arguments, "-f", script, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    if process.returncode or not (found := COMMITTED.search(out.decode())):
        raise OSError(f"pgbench: {(errors + out).decode().strip()[-400:]}")
    return Committed(int(found[1]), float(found[2]))
