"""LISTEN through a real PgBouncer: in session mode it passes, in transaction mode it does not, and the doctor knows."""

import asyncio
import itertools
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from outbox.doctor.examine import Report, examine
from outbox.doctor.finding import Level
from outbox.local.ports import any_free
from outbox.settings import Settings
from tests import servers
from tests.conftest import Database
from tests.outbox.doctor.test_examine import of

CONFIG = """
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
logfile = {folder}/log
pidfile = {folder}/pid
"""


@asynccontextmanager
async def pgbouncer(database: Database, mode: str, folder: Path) -> AsyncIterator[str]:
    """Before this test's database; the URL of it."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    at, listen = urlsplit(database.app), any_free()
    config = folder / "pgbouncer.ini"
    config.write_text(
        CONFIG.format(
            host=at.hostname, port=at.port, user=at.username, password=servers.PASSWORD,
            listen=listen, mode=mode, folder=folder,
        )
    )  # fmt: skip
    for path in itertools.takewhile(lambda path: path != Path(tempfile.gettempdir()), folder.parents):
        path.chmod(0o755)  # it does not run as root
    words = [program, str(config)]
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        words = [program, "-u", "nobody", str(config)]
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.DEVNULL)
    url = f"postgresql://{at.username}@127.0.0.1:{listen}/{database.name}"
    try:
        await answers(url)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def answers(url: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                conn = await asyncpg.connect(url, statement_cache_size=0)
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
            else:
                await conn.close()
                return


async def test_transaction_mode(
    settings: Settings, database: Database, redis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.doctor.listening.HEARD_WITHIN_SECONDS", 1.5)
    async with pgbouncer(database, "transaction", tmp_path) as url:
        report = await examine(settings.model_copy(update={"listen_database_url": SecretStr(url)}))
    [found] = of(report, "listen")
    assert found.level is Level.FAIL
    assert "a pooler in transaction mode" in found.what
    assert "set OUTBOX_LISTEN_DATABASE_URL" in found.advice


async def test_session_mode(settings: Settings, database: Database, redis: Any, tmp_path: Path) -> None:
    async with pgbouncer(database, "session", tmp_path) as url:
        report = await examine(settings.model_copy(update={"listen_database_url": SecretStr(url)}))
    [found] = of(report, "listen")
    assert found.level is Level.OK, found
    assert "through a pooler in session mode" in found.what


async def test_a_pooler_that_refuses_what_the_service_says_at_the_start(
    settings: Settings, database: Database, redis: Any, tmp_path: Path
) -> None:
    async with pgbouncer(database, "session", tmp_path) as url:
        report = await examine(settings.model_copy(update={"database_url": SecretStr(url)}))
    [found] = of(report, "reach.postgres")
    assert "add ?pooler=transaction to DATABASE_URL" in found.advice
    assert "OUTBOX_LISTEN_DATABASE_URL" in found.advice


async def test_all_of_it_through_a_pooler_that_the_url_tells_of(
    settings: Settings, database: Database, redis: Any, tmp_path: Path
) -> None:
    direct = await examine(settings)
    async with pgbouncer(database, "transaction", tmp_path) as url:
        through = {"database_url": f"{url}?pooler=transaction", "listen_database_url": database.app}
        report = await examine(settings.model_copy(update={k: SecretStr(v) for k, v in through.items()}))
    assert checks(report) == checks(direct)
    [found] = of(report, "listen")
    assert found.level is Level.OK, found


def checks(report: Report) -> list[tuple[str, Level]]:
    return [(each.check, each.level) for part in report.values() for each in part]
