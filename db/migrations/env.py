"""Alembic's entry: runs the revisions over asyncpg, or prints their SQL (`alembic upgrade head --sql`)."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

# `outbox migrate` passes the URL; `alembic -x url=postgresql://…` does by hand. Printing SQL needs none.
URL: str = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True).get("url", "")


def configure(**options: object) -> None:
    context.configure(version_table_schema="notify", **options)  # type: ignore[arg-type]  # alembic takes them by name
    with context.begin_transaction():
        # Whoever waits for a table keeps everybody behind it waiting: no longer than producers can bear. `outbox
        # migrate` tries again.
        context.execute("SET LOCAL lock_timeout = '5s'")
        context.execute("CREATE SCHEMA IF NOT EXISTS notify")
        context.run_migrations()


def run(connection: Connection) -> None:
    # One migration at a time, whoever starts it; freed with the connection. Session-level, because
    # the revisions commit in between. 1869967471 is "outb" + 1 as a number and means nothing else.
    connection.execute(text("SELECT pg_advisory_lock(1869967471)"))
    connection.commit()
    configure(connection=connection)


async def online() -> None:
    url = URL.replace("postgres://", "postgresql://", 1).replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)


if context.is_offline_mode():
    configure(dialect_name="postgresql", literal_binds=True)
else:
    asyncio.run(online())
