"""Every kind of connection that `enqueue` serves, behind one face: begin, nest, send."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import outbox

Scope = Callable[[], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Door:
    """One open connection; `begin` is a transaction, `nest` a savepoint in it."""

    conn: Any
    begin: Scope
    nest: Scope
    send: Callable[..., Awaitable[UUID]]


def async_door(conn: Any, begin: Scope, nest: Scope) -> Door:
    async def send(*args: Any, **fields: Any) -> UUID:
        return await outbox.enqueue(conn, *args, **fields)

    return Door(conn, begin, nest, send)


def sync_door(conn: Any, begin: Callable[..., Any], nest: Callable[..., Any]) -> Door:
    async def send(*args: Any, **fields: Any) -> UUID:
        return outbox.enqueue_sync(conn, *args, **fields)

    return Door(conn, lambda: lifted(begin()), lambda: lifted(nest()), send)


@asynccontextmanager
async def lifted(scope: AbstractContextManager[Any]) -> AsyncIterator[None]:
    with scope:
        yield


@asynccontextmanager
async def over_asyncpg(url: str) -> AsyncIterator[Door]:
    conn = await asyncpg.connect(url)
    try:
        yield async_door(conn, conn.transaction, conn.transaction)
    finally:
        await conn.close()


@asynccontextmanager
async def over_asyncpg_pool(url: str) -> AsyncIterator[Door]:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as conn:
        yield async_door(conn, conn.transaction, conn.transaction)


@asynccontextmanager
async def over_psycopg_async(url: str) -> AsyncIterator[Door]:
    async with await psycopg.AsyncConnection.connect(url) as conn:
        yield async_door(conn, conn.transaction, conn.transaction)


@asynccontextmanager
async def over_psycopg(url: str) -> AsyncIterator[Door]:
    with psycopg.connect(url) as conn:
        yield sync_door(conn, conn.transaction, conn.transaction)


def by_sqlalchemy(url: str, driver: str) -> str:
    return url.replace("postgresql://", f"postgresql+{driver}://", 1)


@asynccontextmanager
async def over_sqlalchemy_async(url: str, driver: str = "asyncpg") -> AsyncIterator[Door]:
    engine = create_async_engine(by_sqlalchemy(url, driver), poolclass=NullPool)
    async with engine.connect() as conn:
        yield async_door(conn, conn.begin, conn.begin_nested)


@asynccontextmanager
async def over_sqlalchemy_async_psycopg(url: str) -> AsyncIterator[Door]:
    async with over_sqlalchemy_async(url, "psycopg") as door:
        yield door


@asynccontextmanager
async def over_async_session(url: str) -> AsyncIterator[Door]:
    engine = create_async_engine(by_sqlalchemy(url, "asyncpg"), poolclass=NullPool)
    async with AsyncSession(engine) as session:
        yield async_door(session, session.begin, session.begin_nested)


@asynccontextmanager
async def over_sqlalchemy(url: str) -> AsyncIterator[Door]:
    with create_engine(by_sqlalchemy(url, "psycopg"), poolclass=NullPool).connect() as conn:
        yield sync_door(conn, conn.begin, conn.begin_nested)


@asynccontextmanager
async def over_session(url: str) -> AsyncIterator[Door]:
    with Session(create_engine(by_sqlalchemy(url, "psycopg"), poolclass=NullPool)) as session:
        yield sync_door(session, session.begin, session.begin_nested)


DOORS = (
    over_asyncpg,
    over_asyncpg_pool,
    over_psycopg_async,
    over_psycopg,
    over_sqlalchemy_async,
    over_sqlalchemy_async_psycopg,
    over_async_session,
    over_sqlalchemy,
    over_session,
)
