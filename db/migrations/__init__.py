"""The schema as plain SQL, in the order it is applied; Alembic keeps the count (`outbox migrate`)."""

import asyncio
from pathlib import Path
from typing import Any

from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection

from db.migrations import beside

HERE = Path(__file__).parent


def run_files(revision: str) -> None:
    """Run every .sql file of a revision, whole: a file holds many statements, which only the
    driver's simple protocol takes (and which SQLAlchemy's own path would read for `:names`)."""
    for path in sorted((HERE / "sql" / revision).glob("*.sql")):
        sql = path.read_text(encoding="utf-8")
        if context.is_offline_mode():
            op.get_context().impl.static_output(sql)
        else:
            run_script(op.get_bind(), sql)


def run_script(bind: Connection, sql: str) -> None:
    bind.exec_driver_sql("SELECT 1")  # opens the transaction that the script shall run in
    adapted: Any = bind.connection.dbapi_connection
    adapted.run_async(lambda driver: driver.execute(sql))


def config(url: str | None = None) -> Config:
    """Alembic's settings, from code alone: there is no ini file to find."""
    cfg = Config()
    cfg.set_main_option("script_location", str(HERE))
    cfg.attributes["url"] = url
    return cfg


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`, and build the indexes that are built beside the producers. Safe to
    repeat and to start twice at once."""
    command.upgrade(config(url), revision)
    if revision == "head":
        asyncio.run(beside.build(url))
