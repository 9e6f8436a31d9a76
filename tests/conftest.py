"""Real servers; a database of its own and a key prefix of its own for each test."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import pytest
import redis.asyncio as aioredis

from db.pool import Connection, Pool, open_pool
from outbox.settings import Settings
from tests import servers

SECRET = "a-secret-for-tests-only-of-32-bytes-or-more"


@dataclass(frozen=True, slots=True)
class Database:
    """One test's own database, as each role reaches it."""

    name: str
    admin: str
    app: str
    producer: str
    readonly: str


def pytest_configure(config: pytest.Config) -> None:
    """Servers once a run: in the controller, or in the only process there is."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        config.add_cleanup(servers.start())


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """A fresh database from the migrated template."""
    admin = os.environ[servers.ADMIN_URL]
    name = f"test_{uuid4().hex[:16]}"
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {servers.TEMPLATE}")
        yield Database(
            name=name,
            admin=servers.in_database(admin, name),
            app=servers.in_database(admin, name, "outbox_test_app"),
            producer=servers.in_database(admin, name, "outbox_test_producer"),
            readonly=servers.in_database(admin, name, "outbox_test_readonly"),
        )
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """The service's pool, with the service's rights."""
    pool = await open_pool(database.app, name="test")
    try:
        yield pool
    finally:
        pool.terminate()


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[Connection]:
    """The database's owner: for arranging and for looking."""
    connection = await asyncpg.connect(database.admin)
    try:
        yield connection
    finally:
        connection.terminate()


@pytest.fixture
async def producer(database: Database) -> AsyncIterator[Connection]:
    """A plain SQL producer with the rights of outbox_producer."""
    connection = await asyncpg.connect(database.producer)
    try:
        yield connection
    finally:
        connection.terminate()


@pytest.fixture
def redis_url() -> str:
    """A Redis database of this test process's own, so that FLUSHDB harms nobody beside it."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 15 + 1
    return servers.in_database(os.environ[servers.REDIS_URL], str(number))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["aioredis.Redis"]:
    client = aioredis.from_url(redis_url)
    await client.flushdb()
    try:
        yield client
    finally:
        await client.aclose()


async def cut_off(redis: "aioredis.Redis") -> None:
    """Kill every connection of this test's Redis database but the one that asks; those of tests beside it live."""
    mine = redis.connection_pool.connection_kwargs["db"]
    own = await redis.client_id()
    for client in await redis.client_list():
        if int(client["db"]) == mine and int(client["id"]) != own:
            await redis.client_kill_filter(_id=client["id"])


@pytest.fixture
def settings(database: Database, redis_url: str) -> Settings:
    """The service's settings for this test. Timers are short; `model_copy(update=…)` changes one."""
    return Settings(
        DATABASE_URL=database.app,
        REDIS_URL=redis_url,
        redis_prefix=f"t{uuid4().hex[:8]}:",
        env="development",
        jwt_secret=SECRET,
        api_port=0,
        gateway_port=0,
        relay_port=0,
        worker_port=0,
        relay_linger=0.05,
        relay_poll=1,
        relay_lease=2,
        relay_verify=0.2,
        worker_lease=2,
        retry_base=0.05,
        retry_cap=0.2,
    )
