"""Alternatives: other ways from a committed row to a Redis stream, each in its recommended fast configuration.

A module of this package defines one as `PEER`. It is imported by the harness' own Python, so it imports nothing
foreign itself: the consumer is a process, started by `command` in `bench/.venv` or with `bench/node_modules`.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.pool import Connection

BENCH = Path(__file__).parent.parent
PYTHON = BENCH / ".venv" / "bin" / "python"
NODE_MODULES = BENCH / "node_modules"

# What every row carries, ours and theirs: about 300 bytes with the columns around it. `i` is the row's number.
PAYLOAD_SQL = (
    "jsonb_build_object('n', i, 'title', 'Order ' || i || ' has shipped', 'url', '/orders/' || i,"
    " 'body', repeat('Your parcel is on its way. ', 5))"
)


def payload(n: int) -> dict[str, Any]:
    """PAYLOAD_SQL, made here. The entry in the stream must carry it as JSON text, `n` included."""
    return {
        "n": n,
        "title": f"Order {n} has shipped",
        "url": f"/orders/{n}",
        "body": "Your parcel is on its way. " * 5,
    }


@dataclass(frozen=True)
class Peer:
    """One alternative. It is measured from the outside only: the length of its stream, the entries in it."""

    name: str
    backlog: int = 20_000  # rows of one drain: fewer where it is slow
    logical: bool = False  # whether it needs wal_level=logical; its database is then on a server that has it

    def available(self) -> str | None:
        """None, or why it cannot run here and what to install."""
        return None

    async def prepare(self, url: str, admin_url: str) -> None:
        """Make its tables in an empty database. `url` logs in as the database's owner, and is what fill, insert
        and the consumer get; `admin_url` is the same database as superuser."""
        raise NotImplementedError

    async def fill(self, url: str, rows: int) -> None:
        """Insert rows numbered from 1, with PAYLOAD_SQL as payload, in one set-based statement."""
        raise NotImplementedError

    async def insert(self, conn: Connection, n: int) -> None:
        """One row in one transaction, with payload(n); returns when it is committed."""
        raise NotImplementedError

    def command(self, env: Mapping[str, str]) -> list[str]:
        """The consumer: takes everything and XADDs each row's payload as an entry to STREAM. `env` is what it
        is started with, and names DATABASE_URL, REDIS_URL and STREAM. It prints one line `ready` when it is up
        and listening, and ends on SIGTERM. It may be started before or after the fill."""
        raise NotImplementedError


def peers() -> list[Peer]:
    """Every alternative that a module of this package defines, by name of the module."""
    modules = (importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__))
    return [module.PEER for module in modules if hasattr(module, "PEER")]
