"""Real servers; a database of its own and a key prefix of its own for each test."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
import redis.asyncio as aioredis
import structlog

from db.pool import Connection, Pool, open_pool
from outbox.local import ports
from outbox.nodes import Nodes, is_cluster, seeds, url_of
from outbox.settings import Settings
from tests import servers
from tests.order import longest_first
from tests.patience import be_patient

# The same examples each time, so that a run says something about what was changed. Others are looked for on purpose:
# --hypothesis-profile=search, or MODEL_EXAMPLES=20000. How long one takes to make is the machine's affair.
search = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("search", search)
hypothesis.settings.register_profile("same", search, derandomize=True, database=None)
hypothesis.settings.load_profile("search" if "MODEL_EXAMPLES" in os.environ else "same")

OUTSIDE = "outside"  # the tests' own connections to Redis
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
    # As the service does it. Left to itself, structlog shows every local variable, and takes seconds to do so.
    structlog.configure(
        [
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(),
        ]
    )
    config.pluginmanager.import_plugin("tests.leftovers")
    be_patient()
    if config.option.collectonly:
        return
    ports.RANGE = ports_of(worker_number())
    if not hasattr(config, "workerinput"):
        config.add_cleanup(servers.start())
    if servers.wants_cluster():  # each process has its own, as a cluster has no databases to tell apart
        config.add_cleanup(servers.start_cluster())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
        items[:] = longest_first(items, processes)


def worker_number() -> int:
    """Which of xdist's processes this is; 0 without it."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def ports_of(number: int, each: int = 1_500) -> range:
    """Each process's own, below those that embedded servers choose from: a port is looked for some time before a
    server takes it, and tests side by side must not find the same one."""
    first = 8_000 + number % 8 * each
    return range(first, first + each)


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """A fresh database from the migrated template."""
    admin = os.environ[servers.ADMIN_URL]
    name = f"test_{uuid4().hex[:16]}"
    connection = await asyncpg.connect(admin)
    try:
        # Without a log of every page: the template is not written to, and nothing here outlives the run.
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {servers.TEMPLATE} STRATEGY FILE_COPY")
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
    """A Redis database of this test process's own, so that FLUSHDB harms nobody beside it. A cluster has only one,
    and is this process's own as a whole."""
    if is_cluster(os.environ[servers.REDIS_URL]):
        return os.environ[servers.REDIS_URL]
    return servers.in_database(os.environ[servers.REDIS_URL], str(worker_number() % 15 + 1))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["aioredis.Redis"]:
    """The tests' own way to Redis: to arrange and to look. On a cluster it is redis-py's client, whose view of
    the cluster is not ours."""
    client = outside_client(redis_url)
    await client.flushdb()
    try:
        yield client
    finally:
        await client.aclose()


def outside_client(url: str) -> "aioredis.Redis":
    if not is_cluster(url):
        return aioredis.from_url(url, client_name=OUTSIDE)
    (host, port), *_ = seeds(url)
    cluster = aioredis.RedisCluster(
        host=host, port=port, password=urlsplit(url).password, client_name=OUTSIDE
    )
    return cast("aioredis.Redis", cluster)  # it has the commands; those about a server go to each_node


@pytest.fixture
async def nodes(redis_url: str) -> AsyncIterator[Nodes]:
    """The service's own way to Redis."""
    nodes = Nodes(redis_url, protocol=2)
    try:
        yield nodes
    finally:
        await nodes.aclose()


@asynccontextmanager
async def each_node(url: str) -> AsyncIterator[list["aioredis.Redis"]]:
    """A client for each server there is: three in a cluster."""
    urls = [url_of(url, seed) for seed in seeds(url)] if is_cluster(url) else [url]
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(aioredis.from_url(one, client_name=OUTSIDE)) for one in urls]


async def cut_off(url: str) -> None:
    """Kill the service's connections to this test's Redis database; those of tests beside it live."""
    async with each_node(url) as nodes:
        for node in nodes:
            mine = node.connection_pool.connection_kwargs.get("db", 0)
            for client in await node.client_list():
                if int(client["db"]) == mine and client["name"] != OUTSIDE:
                    await node.client_kill_filter(_id=client["id"])


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
        relay_lease=20,  # as is every time here that may run out: the machine may stand still for seconds
        relay_verify=0.2,
        gateway_reconcile=600,  # a hint that is lost is not made good behind a test's back
        worker_lease=30,
        retry_base=0.05,
        retry_cap=0.2,
    )
