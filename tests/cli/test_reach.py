"""The look before a start: each thing that is wrong is told by name."""

import socket
from contextlib import closing
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from db.dsn import place
from db.pool import Connection
from outbox.cli import reach
from outbox.errors import SettingsError
from outbox.nodes import is_cluster
from outbox.settings import Settings
from tests import servers
from tests.conftest import Database


def test_a_place_has_no_password() -> None:
    assert place("postgresql://someone:secret@db.example:5432/shop?sslmode=require") == "db.example:5432/shop"
    assert place("redis://cache:6379/0") == "cache:6379/0"
    assert place("rediss+cluster://:secret@one:7000,two:7000") == "one:7000,two:7000"


async def test_all_is_well(settings: Settings) -> None:
    await reach.all_of(settings, "api", 0)


async def test_a_database_without_the_schema_is_told_to_migrate(
    settings: Settings, database: Database
) -> None:
    await with_empty_database(database, "DROP SCHEMA notify CASCADE")
    with pytest.raises(reach.UnreachableError, match="outbox migrate"):
        await reach.all_of(settings, "api", 0)


async def with_empty_database(database: Database, statement: str) -> None:
    connection = await asyncpg.connect(database.admin)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_database_that_is_not_there_is_told(settings: Settings, database: Database) -> None:
    nowhere = SecretStr(servers.in_database(database.app, "nowhere", "outbox_test_app"))
    missing = settings.model_copy(update={"database_url": nowhere})
    with pytest.raises(reach.UnreachableError, match='database "nowhere" does not exist'):
        await reach.all_of(missing, "api", 0)


async def test_a_single_server_given_as_a_cluster_is_refused(settings: Settings) -> None:
    if is_cluster(settings.redis):
        pytest.skip("there is no single server in this run")
    url = urlsplit(settings.redis)._replace(scheme="redis+cluster", path="").geturl()
    with pytest.raises(SettingsError, match="is no cluster; write redis://"):
        await reach.redis(url)


async def test_a_taken_port_is_named_with_its_setting(settings: Settings) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"OUTBOX_RELAY_PORT={port}"):
            await reach.all_of(settings, "relay", port)


async def test_a_server_that_goes_down_between_two_looks_is_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by `make chaos`: a service that started while Postgres crashed ended with a stack trace."""

    async def crash(connection: Connection) -> bool:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return True

    monkeypatch.setattr("db.status.schema_is_there", crash)
    with pytest.raises(reach.UnreachableError, match="cannot be used") as told:
        await reach.all_of(settings, "relay", 0)
    assert told.value.passing
