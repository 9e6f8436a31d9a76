"""`python -m bench.footprint`: what a notification weighs on its way – bytes in Postgres, its log and Redis, processor
time and memory of each process. The figures that docs/scaling.md calculates with."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from bench.drains import EMAIL, INAPP
from bench.load import fill
from bench.machine import load, machine
from bench.measure import consumed, drained
from bench.processes import ROOT, Service, service
from bench.servers import Database, Servers
from bench.smtp import sink

OUT = ROOT / "bench" / "out" / "footprint.json"
PATIENCE_SECONDS = 120.0
MAILS = 5_000
TICKS = os.sysconf("SC_CLK_TCK")
AT_REST = ("api", "relay", "worker", "gateway")
# A partition of the log is weighed as part of the log.
TABLES = """
SELECT CASE WHEN i.inhparent IS NULL THEN c.relname ELSE p.relname END AS name,
       sum(pg_total_relation_size(c.oid))::bigint AS bytes
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p')
GROUP BY 1
"""
PEOPLE = """
INSERT INTO notify.recipients (user_id, email)
SELECT 'user' || i, 'user' || i || '@example.com' FROM generate_series(0, 999) i
"""
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"


class Scales:
    """What weighed how much before, so that a stage weighs what it has added."""

    def __init__(self, servers: Servers, database: Database) -> None:
        self.servers, self.database = servers, database
        self.before: dict[str, int] = {}
        self.stages: dict[str, dict[str, float]] = {}

    async def weigh(self, stage: str | None = None, rows: int = 1) -> None:
        """Bytes a row since the last time, by table; and of write-ahead log."""
        async with self.servers.admin(self.database.name) as conn:
            now = {record["name"]: record["bytes"] for record in await conn.fetch(TABLES)}
            now["WAL"] = await conn.fetchval(WAL)
        if stage is not None:
            grown = {name: (size - self.before.get(name, 0)) / rows for name, size in now.items()}
            self.stages[stage] = {name: round(each, 1) for name, each in sorted(grown.items()) if each >= 1}
        self.before = now


def processor_seconds(pid: int) -> float:
    """Of a process and its children, those that have ended among them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:15])) / TICKS + sum(processor_seconds(int(child)) for child in children)


def memory(pid: int) -> dict[str, float]:
    """MB now and at most, of the process alone; `own` is what it shares with no other."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    own = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
    now, peak = (int(status[key].split()[0]) for key in ("VmRSS", "VmHWM"))
    return {"now": round(now / 1024, 1), "peak": round(peak / 1024, 1), "own": round(own / 1024, 1)}


@asynccontextmanager
async def weighed(service_: Service, kept: dict[str, Any], name: str, rows: int) -> AsyncIterator[None]:
    """Processor time a row and memory of the process meanwhile."""
    pid = service_.running.process.pid
    before = processor_seconds(pid)
    yield
    kept[name] = memory(pid) | {"cpu_us_a_row": round((processor_seconds(pid) - before) / rows * 1e6, 1)}


async def at_rest(servers: Servers, database: Database) -> dict[str, Any]:
    """Memory of each process that has nothing to do."""
    found = {}
    for name in AT_REST:
        async with service(name, name, servers=servers, database=database) as process:
            await process.ready()
            found[name] = memory(process.running.process.pid)
    return found


async def used(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])


async def relayed(scales: Scales, rows: int, kept: dict[str, Any]) -> dict[str, float]:
    """The backlog into the stream: bytes an entry, and what a pending one takes besides."""
    servers = scales.servers
    async with servers.redis() as redis:
        empty = await used(redis)
        async with (
            service("relay", "relay", servers=servers, database=scales.database) as relay,
            weighed(relay, kept, "relay", rows),
        ):
            rate = await drained(redis, rows, INAPP, patience=PATIENCE_SECONDS)
        full = await used(redis)
        await redis.xgroup_create(INAPP, "weighing", id="0")
        read = 0
        while read < min(rows, 50_000):
            answer: Any = await redis.xreadgroup("weighing", "bench", {INAPP: ">"}, count=1_000)
            read += len(answer[0][1])
        pending = (await used(redis) - full) / read
        await redis.xgroup_destroy(INAPP, "weighing")
    return {
        "bytes_an_entry": round((full - empty) / rows, 1),
        "bytes_more_if_pending": round(pending, 1),
        "relay_rows_a_second": round(rate),
    }


async def delivered(scales: Scales, channel: str, rows: int, kept: dict[str, Any], **more: str) -> float:
    """All that is in the channel's stream, by one worker; notifications a second."""
    servers = scales.servers
    async with (
        servers.redis() as redis,
        service("worker", "worker", channel, servers=servers, database=scales.database, **more) as worker,
        weighed(worker, kept, f"worker {channel}", rows),
    ):
        return await consumed(redis, rows, f"notifications.{channel}", patience=PATIENCE_SECONDS)


async def mailed(scales: Scales, rows: int, kept: dict[str, Any]) -> float:
    """As many mails to a server on this machine that takes each at once; mails a second."""
    servers = scales.servers
    async with servers.admin(scales.database.name) as conn:
        await conn.execute(PEOPLE)
        await fill(conn, rows, "email", accepted=True)
        await conn.execute("VACUUM ANALYZE")
    async with servers.redis() as redis, sink() as mail:
        async with service("relay", "relay", servers=servers, database=scales.database):
            await drained(redis, rows, EMAIL, patience=PATIENCE_SECONDS)
        await scales.weigh()
        smtp = f"smtp://127.0.0.1:{mail.port}?tls=none"
        return await delivered(scales, "email", rows, kept, SMTP_URL=smtp)


async def in_app(servers: Servers, rows: int, found: dict[str, Any], tell: Console) -> None:
    async with servers.fresh() as database:
        scales = Scales(servers, database)
        await scales.weigh()
        tell.print(f"{rows:,} rows into the log …")
        async with servers.admin(database.name) as conn:
            await fill(conn, rows, accepted=True)
            await conn.execute("VACUUM ANALYZE")
        await scales.weigh("accepted", rows)
        tell.print("into the stream …")
        found["redis"] = await relayed(scales, rows, found["under_load"])
        tell.print("into the inbox …")
        await scales.weigh()
        rate = await delivered(scales, "inapp", rows, found["under_load"])
        await scales.weigh("in-app", rows)
        found["notifications_a_second"] |= {"inapp": round(rate)}
        found["bytes"] |= scales.stages


async def by_mail(servers: Servers, mails: int, found: dict[str, Any], tell: Console) -> None:
    """In a database of its own: what the one before has left free would be written to first."""
    async with servers.fresh() as database:
        scales = Scales(servers, database)
        tell.print(f"{mails:,} mails …")
        rate = await mailed(scales, mails, found["under_load"])
        await scales.weigh("e-mail", mails)
        found["notifications_a_second"] |= {"email": round(rate)}
        found["bytes"] |= scales.stages


async def measured(servers: Servers, rows: int, tell: Console) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": rows, "bytes": {}, "under_load": {}, "notifications_a_second": {}}
    async with servers.fresh() as database:
        tell.print("memory at rest …")
        found["at_rest_mb"] = await at_rest(servers, database)
    await in_app(servers, rows, found, tell)
    await by_mail(servers, min(rows, MAILS), found, tell)
    return found | {"load_average": load(), "machine": await machine(servers)}


def shown(found: dict[str, Any]) -> Table:
    table = Table(
        title=f"bytes a notification, of {found['rows']:,}", caption="tables with their indexes and TOAST"
    )
    for heading in ("where", *found["bytes"]):
        table.add_column(heading, justify="right" if heading != "where" else "left")
    stages = found["bytes"].values()
    for name in sorted({name for stage in stages for name in stage}):
        table.add_row(name, *(f"{stage[name]:,.0f}" if name in stage else "" for stage in stages))
    return table


async def run(folder: Path, rows: int, tell: Console) -> dict[str, Any]:
    servers = Servers(folder / "servers")
    await servers.start()
    try:
        return await measured(servers, rows, tell)
    finally:
        await servers.stop()


def report(found: dict[str, Any], out: Path, tell: Console) -> None:
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    tell.print(shown(found))
    tell.print_json(json.dumps({key: value for key, value in found.items() if key != "bytes"}))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.footprint", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    tell = Console()
    with tempfile.TemporaryDirectory(prefix="outbox-footprint-") as folder:
        Path(folder).chmod(0o755)  # an unprivileged Postgres must get in
        report(uvloop.run(run(Path(folder), asked.rows, tell)), asked.out, tell)
    return 0


if __name__ == "__main__":
    sys.exit(main())
