"""Servers of a run's own, with what production has: every commit is synced, Redis' log every second."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from db import migrations
from db.pool import Connection
from outbox.local.roles import DATABASE, MIGRATOR
from outbox.local.servers import Embedded

EMPTY = DATABASE  # the migrated database; every other is a copy of it


def in_database(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"


@dataclass(frozen=True, slots=True)
class Database:
    """One database, as each role reaches it."""

    name: str
    admin: str
    owner: str
    service: str
    producer: str


class Servers:
    """One Postgres and one Redis. Databases are copies of a filled one, so that every run begins alike."""

    def __init__(
        self,
        folder: Path,
        postgres: dict[str, str] | None = None,
        migrate: Callable[[str], None] = migrations.upgrade,
    ) -> None:
        self.folder = folder
        self.migrate = migrate
        self.embedded = Embedded(folder / "state", postgres=postgres)

    async def start(self) -> None:
        self.folder.mkdir()
        self.folder.chmod(0o755)  # an unprivileged Postgres must get in
        await asyncio.to_thread(self.embedded.start)
        await asyncio.to_thread(self.migrate, self.embedded.migrate_url)

    async def stop(self) -> None:
        await asyncio.to_thread(self.embedded.stop)

    @property
    def redis_url(self) -> str:
        return self.embedded.redis_url

    @property
    def pgbench(self) -> Path:
        assert self.embedded.psql is not None
        return self.embedded.psql.with_name("pgbench")

    def database(self, name: str) -> Database:
        found = self.embedded
        urls = (found.admin_url, found.migrate_url, found.database_url, found.producer_url)
        return Database(name, *(in_database(url, name) for url in urls))

    @asynccontextmanager
    async def admin(self, database: str = "postgres") -> AsyncIterator[Connection]:
        """As superuser."""
        connection = await asyncpg.connect(in_database(self.embedded.admin_url, database))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def redis(self) -> AsyncIterator["Redis"]:
        client = Redis.from_url(self.redis_url, socket_timeout=None)
        try:
            yield client
        finally:
            await client.aclose()

    async def create(self, name: str, template: str = "template0") -> Database:
        """A new database, as a copy of another one that nobody is connected to. One of that name goes."""
        async with self.admin() as conn:
            await conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await conn.execute(
                f"CREATE DATABASE {name} TEMPLATE {template} OWNER {MIGRATOR} STRATEGY file_copy"
            )
        return self.database(name)

    async def drop(self, *names: str) -> None:
        async with self.admin() as conn:
            for name in names:
                await conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def flush(self) -> None:
        """Redis empty, its log rewritten. For moments at which no relay runs: one would put everything back."""
        async with self.redis() as redis:
            await redis.flushall()
            await redis.bgrewriteaof()
            while (await redis.info("persistence"))["aof_rewrite_in_progress"]:  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.02)

    async def checkpoint(self) -> None:
        """So that no run pays for writing what came before it."""
        async with self.admin() as conn:
            await conn.execute("CHECKPOINT")

    @asynccontextmanager
    async def fresh(self, template: str = EMPTY) -> AsyncIterator[Database]:
        """A copy for one run, an empty Redis and quiet servers."""
        database = await self.create("run", template)
        await self.flush()
        await self.checkpoint()
        try:
            yield database
        finally:
            await self.drop("run")
