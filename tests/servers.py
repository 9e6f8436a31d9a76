"""The servers the tests run on, started once for a whole run, with a migrated template database."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import MappingProxyType

import asyncpg

from db import migrations
from outbox.local.servers import Embedded
from tests.three_nodes import Cluster

# How the run hands the servers on to its xdist workers.
ADMIN_URL, REDIS_URL = "OUTBOX_TEST_ADMIN_URL", "OUTBOX_TEST_REDIS_URL"
KIND = "OUTBOX_TEST_REDIS"
POSTGRES_RELEASE, REDIS_RELEASE = "OUTBOX_TEST_POSTGRES_RELEASE", "OUTBOX_TEST_REDIS_RELEASE"
ROOM_BYTES = 2 * 1024**3
TEMPLATE = "outbox_test_template"
PASSWORD = "test-only"
LOGINS = {
    "outbox_test_app": "outbox_app",
    "outbox_test_producer": "outbox_producer",
    "outbox_test_readonly": "outbox_readonly",
}


def start() -> Callable[[], None]:
    """Start or find the servers: the releases asked for, else DATABASE_URL and REDIS_URL if set, testcontainers if
    a Docker engine answers and has or gets the images, the embedded ones otherwise. Returns what stops them."""
    stack = ExitStack()
    admin, redis = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if asked := releases():
        admin, redis = embedded(stack, asked)
    elif not (admin and redis):
        admin, redis = (containers(stack) if docker_answers() else None) or embedded(stack)
    os.environ[ADMIN_URL], os.environ[REDIS_URL] = admin, redis
    asyncio.run(prepare(admin))
    return stack.close


def wants_cluster() -> bool:
    """OUTBOX_TEST_REDIS=cluster: three nodes instead of one server. Left out, the one server."""
    match os.environ.get(KIND):
        case None | "" | "single":
            return False
        case "cluster":
            return True
        case other:
            raise ValueError(f"{KIND}={other}: must be single or cluster")


def start_cluster() -> Callable[[], None]:
    stack = ExitStack()
    os.environ[REDIS_URL] = stack.enter_context(Cluster(releases().get("redis"))).url
    return stack.close


def docker_answers() -> bool:
    if not Path(
        os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    ).exists():
        return False
    import docker  # noqa: PLC0415 - only where there may be an engine

    try:
        with closing(docker.from_env(timeout=3)) as engine:
            engine.ping()
    except docker.errors.DockerException:
        return False
    return True


def containers(stack: ExitStack) -> tuple[str, str] | None:
    """None where the engine cannot start them: offline without the images, or out of room."""
    import docker  # noqa: PLC0415 - only with an engine
    import requests  # noqa: PLC0415 - what docker speaks by
    from testcontainers.core.exceptions import ContainerStartException  # noqa: PLC0415

    with ExitStack() as started:
        try:
            urls = start_containers(started)
        except (
            docker.errors.DockerException,
            requests.RequestException,
            ContainerStartException,
            OSError,
        ) as error:
            why = " ".join(str(error).split())
            print(f"No test containers ({why}): the embedded servers are used.", file=sys.stderr)
            return None
        stack.push(started.pop_all())
        return urls


def start_containers(stack: ExitStack) -> tuple[str, str]:
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - only with an engine
    from testcontainers.community.redis import RedisContainer  # noqa: PLC0415

    postgres = stack.enter_context(PostgresContainer("postgres:17-alpine", driver=None))
    redis = stack.enter_context(RedisContainer("redis:7-alpine"))
    port = redis.get_exposed_port(6379)
    return postgres.get_connection_url(), f"redis://{redis.get_container_host_ip()}:{port}/0"


def memory() -> str | None:
    """A folder in memory, where there is room: each test copies a database of some 300 files."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > ROOM_BYTES else None


def releases() -> dict[str, str]:
    """Which servers to run on, where that matters: OUTBOX_TEST_POSTGRES_RELEASE=pg15."""
    asked = {"postgres": os.environ.get(POSTGRES_RELEASE), "redis": os.environ.get(REDIS_RELEASE)}
    return {server: release for server, release in asked.items() if release}


def embedded(stack: ExitStack, asked: Mapping[str, str] = MappingProxyType({})) -> tuple[str, str]:
    state = Path(tempfile.mkdtemp(prefix="outbox-test-", dir=memory()))
    stack.callback(shutil.rmtree, state, ignore_errors=True)
    state.chmod(0o755)  # an unprivileged Postgres must get in when the tests run as root
    servers = stack.enter_context(Embedded(state / "state", throwaway=True, releases=asked))
    return servers.admin_url, servers.redis_url


async def prepare(admin: str) -> None:
    """The logins and the template. Quick where an earlier run left them on the same server."""
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE}")
        await connection.execute(f"CREATE DATABASE {TEMPLATE}")
        await asyncio.to_thread(migrations.upgrade, in_database(admin, TEMPLATE))
        if connection.get_server_version().major >= 16:  # each test logs in several times
            await connection.execute("SET scram_iterations = 1")
        for login, group in LOGINS.items():
            if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", login):
                await connection.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}' IN ROLE {group}")
    finally:
        await connection.close()


def in_database(url: str, database: str, user: str | None = None) -> str:
    """The same server's URL for another database, and for another login."""
    head, _, _ = url.rpartition("/")
    if user:
        scheme, _, rest = head.partition("://")
        head = f"{scheme}://{user}:{PASSWORD}@{rest.rpartition('@')[2]}"
    return f"{head}/{database}"
