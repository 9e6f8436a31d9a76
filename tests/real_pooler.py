"""Everything but LISTEN through a real PgBouncer in transaction mode (`make pooler`). It has fewer connections to
Postgres than there are clients, so that each statement is another one's neighbour.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from db.pool import Connection, Pool, connect, open_pool
from outbox.api.app import create_app
from outbox.cli import reach
from outbox.local.ports import any_free
from outbox.nodes import Nodes
from outbox.probes import Health
from outbox.service import Stop
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from relay.listener import DEAF, Listener
from tests.conftest import Database
from tests.relay.conftest import relaying
from tests.workers.conftest import eventually
from workers.main import main as worker

ROWS = 200
SERVERS = 3  # connections that PgBouncer has to Postgres
CLIENTS = 40
CONFIG = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {servers}
max_client_conn = 500
server_reset_query =
logfile = {log}
pidfile = {pid}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Which a process of another user may write to."""
    made = Path(tempfile.mkdtemp(prefix="pooler-"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def pooler(database: Database, folder: Path) -> AsyncIterator[str]:
    """Its URL for the service's login."""
    path, behind = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", urlsplit(database.app)
    own = any_free()
    users = folder / "users"
    users.write_text(f'"{behind.username}" "{behind.password}"\n', encoding="utf-8")
    config = folder / "pgbouncer.ini"
    facts = {"host": behind.hostname, "port": behind.port, "own": own, "users": users, "servers": SERVERS}
    config.write_text(CONFIG.format(**facts, log=folder / "log", pid=folder / "pid"), encoding="utf-8")
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    process = await asyncio.create_subprocess_exec(path, "-q", *user, str(config))
    url = database.app.replace(f":{behind.port}/", f":{own}/")
    try:
        await eventually(lambda: answers(url), "PgBouncer answers")
        yield url
    finally:
        process.terminate()
        await process.wait()


async def answers(url: str) -> bool:
    with suppress(OSError, asyncpg.PostgresError):
        connection: Connection = await asyncpg.connect(url, statement_cache_size=0)
        await connection.close()
        return True
    return False


@pytest.fixture
def pooled(settings: Settings, pooler: str, database: Database) -> Settings:
    """The service's settings, by which all but the relay goes through the pooler."""
    facts = settings.model_dump(exclude={"database_url", "redis_url", "listen_database_url"})
    made = Settings(
        DATABASE_URL=f"{pooler}?pooler=transaction",
        REDIS_URL=settings.redis,
        listen_database_url=database.app,
        **facts,
    )
    assert made.own_database == made.migrate_database == database.app
    return made


async def test_the_road_goes_through_it(
    pooled: Settings, producer: Connection, admin: Connection, redis: object, nodes: Nodes
) -> None:
    """API, worker, gateway's statements; many clients on three servers, and what they prepare is not mixed up."""
    pool = await open_pool(pooled.database, name="api", size=CLIENTS)
    app = create_app(pooled, pool, Health(), nodes)
    token = issue(pooled, "shop", Scope.PRODUCER, timedelta(minutes=5))
    headers = {"Authorization": f"Bearer {token}"}
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://api", headers=headers, timeout=60
    )
    stop = Stop()
    working = asyncio.create_task(worker(pooled, ["inapp"], stop))
    async with client, relaying(pooled):
        answers = []
        for _ in range(8):  # no more at once than wait for a connection in time
            answers += await asyncio.gather(*(send(client, number) for number in range(ROWS // 8)))
        assert {answer.status_code for answer in answers} == {202}
        shown = [await client.get(answer.json()["status_url"]) for answer in answers]
        assert {each.status_code for each in shown} == {200}, shown[0].text
        assert [each.json()["id"] for each in shown] == [answer.json()["id"] for answer in answers]

        async def all_delivered() -> bool:
            return bool(await admin.fetchval("SELECT count(*) FROM notify.inbox") == ROWS)

        await eventually(all_delivered, "all are in the inbox")
    stop.ask()
    await working
    await app.state.gathering.close()
    await pool.close()
    assert await admin.fetchval("SELECT count(DISTINCT notification_id) FROM notify.inbox") == ROWS


async def send(client: httpx.AsyncClient, number: int) -> httpx.Response:
    body = {"event_type": "order.paid", "user_id": f"u{number % 7}", "payload": {"title": f"{number}"}}
    return await client.post("/v1/notifications", json=body)


async def test_each_statement_gets_its_own_answer_whoever_asks_beside_it(pooled: Settings) -> None:
    pool = await open_pool(pooled.database, name="test", size=CLIENTS)

    async def ask(number: int) -> None:
        for _ in range(20):
            kind = ("int", "text", "bigint", "numeric")[number % 4]
            own = str(number) if kind == "text" else number
            row = await pool.fetchrow(f"SELECT $1::{kind} AS own, '{number}' AS who", own)
            assert row is not None
            assert (int(row["own"]), row["who"]) == (number, str(number))

    await asyncio.gather(*(ask(number) for number in range(CLIENTS)))
    await pool.close()


async def test_a_transaction_stays_on_its_server_and_an_error_ends_it(pooled: Settings) -> None:
    pool: Pool = await open_pool(pooled.database, name="test", size=CLIENTS)

    async def work() -> None:
        async with pool.acquire() as connection:
            async with connection.transaction():
                first = await connection.fetchval("SELECT pg_current_xact_id()")
                await connection.executemany("SELECT $1::int", [(1,), (2,)])
                assert await connection.fetchval("SELECT pg_current_xact_id()") == first
            with pytest.raises(asyncpg.DivisionByZeroError):
                await connection.fetchval("SELECT 1 / $1::int", 0)
            assert await connection.fetchval("SELECT $1::int", 5) == 5

    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    await pool.close()


async def test_listen_through_it_is_noticed_and_said(pooler: str) -> None:
    """Somebody gave the pooler's address to LISTEN."""
    listener = Listener(f"{pooler}?pooler=transaction", asyncio.Event(), ping=0.2, silence=1)
    task = asyncio.create_task(listener.run())

    async def noticed() -> bool:
        return listener.check() == DEAF

    await eventually(noticed, "it notices")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "OUTBOX_LISTEN_DATABASE_URL" in DEAF


async def test_a_url_that_does_not_say_so_is_answered_by_what_to_write(pooler: str) -> None:
    with pytest.raises(reach.UnreachableError, match=r"add \?pooler=transaction to DATABASE_URL"):
        await reach.postgres(pooler, "api")


async def test_a_session_s_settings_do_not_go_through_it(pooler: str) -> None:
    with pytest.raises(ValueError, match="jit cannot be set through a pooler"):
        await connect(f"{pooler}?pooler=transaction", name="relay", jit="off")
