"""A Postgres primary with a streaming standby: stopped, killed, promoted, built anew."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

import asyncpg

from bench.chaos.ground import HOST, SUPERUSER, Ground, free_port
from bench.chaos.kin import children
from bench.chaos.proxy import Proxy
from db.pool import OUTAGES

# kill -9 leaves the page cache alone, so not even fsync is needed for what these faults prove.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "fsync": "off",
    "max_connections": "150",
    "max_prepared_transactions": "20",
    "wal_keep_size": "2GB",
    "shared_buffers": "64MB",
    "max_wal_senders": "6",
    "log_checkpoints": "off",
    "wal_receiver_status_interval": "1",
}
READY_SECONDS = 60


@dataclass(slots=True)
class Node:
    """One server: a folder, a port, a process."""

    ground: Ground
    name: str
    port: int = field(default_factory=free_port)
    pid: int = 0

    @property
    def folder(self) -> Path:
        return self.ground.folder / self.name

    async def start(self) -> None:
        """Returns when it takes connections. What is left of a killed one may hold it up for a moment."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                (self.folder / "postmaster.pid").unlink(missing_ok=True)
                options = [w for k, v in SETTINGS.items() for w in ("-c", f"{k}={v}")]
                exe = str(self.ground.postgres.exe)
                words = (exe, "-D", str(self.folder), "-c", f"port={self.port}", *options)
                self.pid = await self.ground.start(self.name, *words)
                if await self.becomes_ready():
                    return
                await asyncio.sleep(0.05)

    async def becomes_ready(self) -> bool:
        while self.ground.kin.lives(self.pid):
            try:
                lines = (self.folder / "postmaster.pid").read_text().splitlines()
            except OSError:
                lines = []
            if len(lines) >= 8 and lines[7].strip() in {"ready", "standby"} and int(lines[0]) == self.pid:
                return True
            await asyncio.sleep(0.01)
        return False

    async def stop(self) -> None:
        await self.ground.kin.end(self.pid, signal.SIGINT)  # fast: clients are dropped

    async def kill(self) -> None:
        await self.ground.kin.end_tree(self.pid)

    async def answers(self) -> None:
        """Wait until it does, after a crash of its own."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                with suppress(*OUTAGES):
                    async with self.connection() as connection:
                        await connection.execute("SELECT 1")
                        return
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def connection(self, database: str = "outbox") -> "AsyncIterator[asyncpg.Connection[Any]]":
        """As superuser, past every proxy."""
        connection = await asyncpg.connect(
            host=HOST,
            port=self.port,
            user=SUPERUSER,
            password=self.ground.password(SUPERUSER),
            database=database,
            ssl=False,
            timeout=10,
            command_timeout=30,
        )
        try:
            yield connection
        finally:
            connection.terminate()


@dataclass(slots=True)
class Pair:
    """The primary and its standby. `link` is the road between the two."""

    ground: Ground
    link: Proxy
    primary: Node = field(init=False)
    standby: Node = field(init=False)
    lost_at: float = 0.0  # when the last primary was lost, in Unix seconds

    def __post_init__(self) -> None:
        self.primary = Node(self.ground, "postgres-a")
        self.standby = Node(self.ground, "postgres-b")

    async def open(self) -> None:
        self.ground.new_folder(self.primary.name)
        secret = self.ground.folder / "initdb.password"
        secret.write_text(self.ground.password(SUPERUSER))
        self.ground.give(secret)
        words = ("--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync")
        where = (f"--pgdata={self.primary.folder}", f"--username={SUPERUSER}", f"--pwfile={secret}")
        await self.ground.run(self.ground.tool("initdb"), *where, *words)
        secret.unlink()
        await self.primary.start()
        self.link.target = (HOST, self.primary.port)

    async def build_standby(self) -> None:
        """From a base backup of the primary. From its first commits on, nothing counts as committed that it
        has not got."""
        self.link.target = (HOST, self.primary.port)
        self.link.swallow = False
        node = self.standby
        await asyncio.to_thread(shutil.rmtree, node.folder, True)
        self.ground.new_folder(node.name)
        password = self.ground.password(SUPERUSER)
        where = f"host={HOST} port={self.link.port} user={SUPERUSER} password={password}"
        options = ("--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync")
        await self.ground.run(
            self.ground.tool("pg_basebackup"), "-D", str(node.folder), "-d", where, *options
        )
        await node.start()
        await self.streams()
        await self.synchronous(True)

    async def streams(self) -> None:
        """Wait until the standby follows."""
        async with asyncio.timeout(READY_SECONDS), self.primary.connection("postgres") as connection:
            while not await connection.fetchval(  # noqa: ASYNC110 - a row that Postgres changes
                "SELECT bool_or(state = 'streaming') FROM pg_stat_replication"
            ):
                await asyncio.sleep(0.05)

    async def caught_up(self) -> None:
        """Wait until commits wait for the standby, and until it has what was committed before they did."""
        sql = "SELECT flush_lsn >= $1::text::pg_lsn FROM pg_stat_replication WHERE sync_state = 'sync'"
        async with asyncio.timeout(READY_SECONDS), self.primary.connection("postgres") as connection:
            lsn = await connection.fetchval("SELECT pg_current_wal_lsn()::text")
            while not await connection.fetchval(sql, lsn):  # noqa: ASYNC110 - a row that Postgres changes
                await asyncio.sleep(0.05)

    async def synchronous(self, wanted: bool) -> None:
        """Whether a commit waits for the standby. `*` is whichever there is."""
        async with self.primary.connection("postgres") as connection:
            await connection.execute(
                f"ALTER SYSTEM SET synchronous_standby_names = '{'*' if wanted else ''}'"
            )
            await connection.execute("SELECT pg_reload_conf()")

    async def promote(self) -> None:
        """The primary is lost; the standby takes its place, with what it has."""
        await self.primary.kill()
        self.lost_at = time()
        self.primary, self.standby = self.standby, self.primary
        async with self.primary.connection("postgres") as connection:
            await connection.fetchval("SELECT pg_promote(true, 30)")
        await self.synchronous(False)

    async def backends(self) -> list[int]:
        async with self.primary.connection("postgres") as connection:
            records = await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND usename <> 'postgres'"
            )
        return [record["pid"] for record in records]

    def crash(self, backend: int) -> None:
        """kill -9 of one backend: the server drops everyone and recovers from its log."""
        if backend in children(self.primary.pid):
            os.kill(backend, signal.SIGKILL)
