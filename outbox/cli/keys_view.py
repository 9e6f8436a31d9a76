"""API keys made, shown as a table, and revoked."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db import keys
from db.keys import ApiKey, Terms
from outbox.api.keys import Wanted, told
from outbox.api.problems import ProblemError
from outbox.api.reading import read
from outbox.api_keys import make
from outbox.audit import printable, record
from outbox.cli import reach
from outbox.cli.commander import commander
from outbox.settings import Settings


async def make_and_show(settings: Settings, wanted: Mapping[str, Any]) -> None:
    try:
        terms = Terms(**dict(read(Wanted, wanted)))
    except ProblemError as error:
        raise typer.BadParameter(error.detail) from None
    new, who = make(), commander()
    connection = await reach.postgres(settings.database, "key")
    try:
        async with connection.transaction():
            made = await keys.add(connection, new.id, new.hash, terms, printable(who.subject, 200))
            await record(connection, who, "key.make", made.id, {"after": told(made)})
    finally:
        await connection.close()
    typer.echo(f"{made.id}: {', '.join(facts(made))}. Shown this once:", err=True)
    typer.echo(new.text)


async def show(settings: Settings, *, over: bool, limit: int) -> None:
    connection = await reach.postgres(settings.database, "key")
    try:
        found = await keys.page(connection, None, limit, over=over)
    finally:
        await connection.close()
    if not found:
        typer.echo("There are no keys. Make one: outbox key create --name shop")
        return
    Console().print(table(found))


async def end(settings: Settings, key_id: str) -> None:
    connection = await reach.postgres(settings.database, "key")
    try:
        async with connection.transaction():
            revoked = await keys.revoke(connection, key_id)
            if revoked:
                await record(connection, commander(), "key.revoke", key_id)
    finally:
        await connection.close()
    if revoked is None:
        raise typer.BadParameter(
            f"there is no key {key_id!r} that is not revoked; outbox key list shows them"
        )
    typer.echo(f"{revoked.name} ({key_id}) is revoked: it is refused everywhere within five seconds.")


def table(found: Sequence[ApiKey]) -> Table:
    made = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for column in ("id", "name", "made (UTC)", "used last", "until"):
        made.add_column(column, no_wrap=True)
    made.add_column("may", overflow="fold")
    for key in found:
        made.add_row(
            key.id,
            Text(key.name),  # as it is: a name may hold square brackets
            moment(key.created_at),
            moment(key.last_used_at) or "never",
            f"revoked {moment(key.revoked_at)}" if key.revoked_at else moment(key.expires_at) or "no end",
            Text(", ".join(facts(key))),
        )
    return made


def moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


def facts(key: ApiKey) -> list[str]:
    """What it may do, in words."""
    found = [" and ".join(key.scopes)]
    found += [f"only {' '.join(limit)}" for limit in (key.event_types, key.channels) if limit is not None]
    return found + ([key.rate] if key.rate else [])
