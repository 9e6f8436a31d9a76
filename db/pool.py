"""Connections to Postgres: one pool a process, and single ones for LISTEN."""

from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from db.dsn import without_parameter
from db.pooler import Pooled

if TYPE_CHECKING:  # generic in the stubs only
    Connection = asyncpg.Connection[asyncpg.Record]
    PooledConnection = PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection, PooledConnection, Pool = asyncpg.Connection, PoolConnectionProxy, asyncpg.Pool


# What a statement runs on. The caller owns the transaction.
Executor = Connection | PooledConnection

# A process frozen inside a transaction must not hold back vacuum for ever.
SERVER_SETTINGS = {"idle_in_transaction_session_timeout": "60s"}
COMMAND_TIMEOUT_SECONDS = 60.0

# What a statement may raise when Postgres goes away or refuses. The last one is asyncpg's own state machine, taken
# by surprise by a server that closes while a statement is begun: such a connection never works again.
OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


async def open_pool(url: str, *, name: str, size: int = 10) -> Pool:
    """A pool of at most `size` connections that call themselves `outbox-<name>` in pg_stat_activity.

    It connects when first asked for a connection, so a server that goes down while a process starts is met where
    outages are dealt with anyway.
    """
    return await asyncpg.create_pool(min_size=0, max_size=size, **options(url, name))


async def connect(url: str, *, name: str, **settings: str) -> Connection:
    """One connection of its own, for LISTEN and for the relay; `settings` are Postgres' own, for this
    session. Raises what is in OUTAGES."""
    return await asyncpg.connect(**options(url, name, **settings))


def options(url: str, name: str, **settings: str) -> dict[str, Any]:
    """What the driver is given. A pooler takes no other settings than those it can give to whatever server it has."""
    dsn, pooled = without_parameter(url)
    named = {"application_name": f"outbox-{name}", "timezone": "UTC"}
    given: dict[str, Any] = {"dsn": dsn, "command_timeout": COMMAND_TIMEOUT_SECONDS}
    if not pooled:
        return given | {"server_settings": named | SERVER_SETTINGS | settings}
    if settings:
        raise ValueError(f"{', '.join(settings)} cannot be set through a pooler")
    return given | {"server_settings": named, "connection_class": Pooled, "statement_cache_size": 0}
