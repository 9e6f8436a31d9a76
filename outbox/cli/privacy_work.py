"""What `outbox user` does: a document written as it is read, and an erasure carried out and watched."""

import asyncio
import getpass
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import typer

from db import erasure as sql
from db.erasure import Erasure
from db.pool import Pool, open_pool
from outbox import audit
from outbox.envelope import UNPRINTABLE
from outbox.erasure import eraser as erasing
from outbox.erasure import export
from outbox.erasure.eraser import Eraser
from outbox.erasure.streams import Streams
from outbox.errors import SettingsError
from outbox.nodes import Nodes
from outbox.settings import Settings
from outbox.tokens import Identity, Scope, Via

LOOK_SECONDS = 0.5
ONLY_MINE = 0o600


@asynccontextmanager
async def pool_of(settings: Settings) -> AsyncIterator[Pool]:
    pool = await open_pool(settings.database, name="cli", size=2)
    try:
        yield pool
    finally:
        pool.terminate()


async def write_export(settings: Settings, user_id: str, output: Path | None) -> None:
    check(user_id)
    async with pool_of(settings) as pool:
        async with pool.acquire() as conn:
            await audit.record(conn, operator(), "user.export", audit.pseudonym(settings, user_id))
        # Opened for the descriptor's rights: between making a file and changing its mode others could open it.
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, ONLY_MINE) if output else None
        with os.fdopen(file, "w", encoding="utf-8") if file is not None else nullcontext(sys.stdout) as out:
            async for part in export.document(pool, user_id):
                out.write(part)


async def carry_out(settings: Settings, user_id: str, addresses: list[str]) -> None:
    check(user_id, *addresses)
    nodes = Nodes(settings.redis, protocol=2)
    try:
        async with pool_of(settings) as pool:
            eraser = Eraser(settings, pool, Streams(nodes, settings.keys))
            await watch(eraser, await request(eraser, user_id, addresses))
    finally:
        await nodes.aclose()


def check(*names: str) -> None:
    for name in names:
        if not 1 <= len(name) <= 200 or UNPRINTABLE.search(name):
            raise SettingsError(f"{name!r}: must be 1 to 200 printable characters")


async def request(eraser: Eraser, user_id: str, addresses: list[str]) -> Erasure:
    async with eraser.pool.acquire() as conn, conn.transaction():
        return await erasing.request(conn, eraser.settings, operator(), user_id, addresses)


def operator() -> Identity:
    return Identity(login(), frozenset({Scope.ADMIN}), datetime.now(UTC), Via.COMMAND)


def login() -> str:
    """Who runs the command, for the audit log. A container may have no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"


async def watch(eraser: Eraser, erasure: Erasure) -> None:
    """Step by step, unless another process has it; then its steps are looked at."""
    typer.echo(f"erasure   {erasure.id}  of {erasure.subject}")
    told = ""
    while erasure.finished_at is None:
        pause = await eraser.step(erasure.id)
        found = await look(eraser, erasure)
        if found.stage != told:
            told = found.stage
            typer.echo(f"round {found.round}   {told}")
        erasure = found
        await asyncio.sleep(min(pause, LOOK_SECONDS))
    for table, rows in sorted(erasure.erased.items()):
        typer.echo(f"{rows:>9} {table}")
    typer.echo("done")


async def look(eraser: Eraser, erasure: Erasure) -> Erasure:
    async with eraser.pool.acquire() as conn:
        found = await sql.find(conn, erasure.id)
    assert found is not None
    return found
