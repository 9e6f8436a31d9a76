"""Two PostgreSQL clusters, and one Redis that outlives the move from one to the other."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import SecretStr

import relay.main
import workers.main
from db.pool import Connection
from outbox.local.binaries import find_postgres
from outbox.local.servers import Embedded
from outbox.service import Stop
from outbox.settings import Settings
from tests import servers

NOTIFY = """
INSERT INTO notify.outbox (notification_id, event_type, user_id, channels)
VALUES ($1, 'order.paid', 'u' || ($2::int % 7), '{inapp}')
"""
GROUPS = ("outbox_app", "outbox_producer", "outbox_readonly")
ARRIVED = "SELECT notification_id FROM notify.inbox ORDER BY seq"
SENT = "SELECT notification_id FROM notify.delivery_events WHERE event = 'delivered'"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server of its own, by the URL of its superuser."""

    url: str
    data: Path

    async def database(self, name: str) -> str:
        """A new database in it, and the service's groups, which a dump of one schema does not bring."""
        conn = await asyncpg.connect(self.url)
        try:
            for group in GROUPS:
                if not await conn.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", group):
                    await conn.execute(f"CREATE ROLE {group} NOLOGIN")
            await conn.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        finally:
            await conn.close()
        return servers.in_database(self.url, name)

    async def use_up(self, xids: int) -> None:
        """Transactions of nobody's: this cluster is an older one."""
        conn = await asyncpg.connect(self.url)
        try:
            await conn.execute(
                f"DO $$ BEGIN FOR i IN 1..{xids} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
            )
        finally:
            await conn.close()


def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="outbox-moving-", dir=servers.memory()) as folder:
        Path(folder).chmod(0o755)  # an unprivileged Postgres must get in when the tests run as root
        redis = os.environ[servers.REDIS_URL]
        given = {"wal_level": "logical", "max_wal_senders": "10"}
        with Embedded(Path(folder) / "state", throwaway=True, redis_url=redis, postgres=given) as embedded:
            yield Cluster(embedded.admin_url, embedded.info["postgres"].data)


old_cluster = pytest.fixture(scope="module", name="old_cluster")(cluster)
new_cluster = pytest.fixture(scope="module", name="new_cluster")(cluster)


@dataclass(frozen=True, slots=True)
class Move:
    """The database before and after. In the old cluster far more transactions have been."""

    old: str
    new: str
    settings: Settings

    def at(self, url: str) -> Settings:
        where = {"database_url": SecretStr(url), "migrate_database_url": SecretStr(url)}
        return self.settings.model_copy(update=where)


@pytest.fixture
async def move(old_cluster: Cluster, new_cluster: Cluster, settings: Settings, redis: object) -> Move:
    name = f"move_{uuid4().hex[:12]}"
    old, new = await old_cluster.database(name), await new_cluster.database(name)
    await old_cluster.use_up(3_000)
    return Move(old, new, settings)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    conn = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield conn
    finally:
        conn.terminate()


@asynccontextmanager
async def running(settings: Settings, *, relaying: bool = True, working: bool = True) -> AsyncIterator[Stop]:
    """A relay and an in-app worker, in this process, until the block ends."""
    stop = Stop()
    mains: list[Any] = [relay.main.main(settings, stop)] if relaying else []
    mains += [workers.main.main(settings, ["inapp"], stop)] if working else []
    tasks = [asyncio.create_task(main) for main in mains]
    try:
        yield stop
    finally:
        stop.ask()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)


async def produce(conn: Connection, count: int) -> set[UUID]:
    """Notifications, each committed by itself; their ids."""
    made = [uuid4() for _ in range(count)]
    for number, notification in enumerate(made):
        await conn.execute(NOTIFY, notification, number)
    return set(made)


async def ids(conn: Connection, query: str) -> list[UUID]:
    return [row[0] for row in await conn.fetch(query)]


async def eventually(conn: Connection, holds: Callable[[list[UUID]], bool], query: str = ARRIVED) -> None:
    async with asyncio.timeout(60):
        while not holds(await ids(conn, query)):  # noqa: ASYNC110 - Postgres is asked: there is no event to wait on
            await asyncio.sleep(0.02)


async def audit(conn: Connection, committed: set[UUID]) -> None:
    """Every committed one arrived, once, and was sent once; and nothing else did."""
    for query in (ARRIVED, SENT):
        found = await ids(conn, query)
        assert len(found) == len(set(found))
        assert set(found) == committed


def tool(name: str, *words: str) -> None:
    """One of PostgreSQL's own programs, of the server's version. Quiet, unless it fails."""
    program = find_postgres().exe.with_name(name)
    done = subprocess.run([program, *words], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
