"""Channels shown as a table, and cut into shards."""

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db import channels, shards
from db.channels import Change, Channel
from db.pool import Connection
from outbox.api.channels import Changed, check_order, told
from outbox.api.problems import ProblemError
from outbox.api.reading import read
from outbox.audit import record
from outbox.cli import reach
from outbox.cli.commander import commander
from outbox.settings import Settings


async def show(settings: Settings) -> None:
    connection = await reach.postgres(settings.database, "channel")
    try:
        found = await channels.all_channels(connection)
        cut_into = await shards.of_channels(connection)
    finally:
        await connection.close()
    made = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for column in ("channel", "kind", "on", "attempts", "shards", "still read"):
        made.add_column(column, no_wrap=True)
    for channel in found:
        now = cut_into[channel.name]
        state = Text("yes") if channel.enabled else Text("off", style="yellow")
        more = str(now.readable) if now.readable > now.shards else ""
        made.add_row(channel.name, channel.kind, state, str(channel.max_attempts), str(now.shards), more)
    Console().print(made)


async def cut(settings: Settings, name: str, number: int) -> None:
    try:
        wanted = read(Changed, {"shards": number})
    except ProblemError as error:
        raise typer.BadParameter(f"{number}: {error.detail}") from None
    connection = await reach.postgres(settings.database, "channel")
    try:
        await change(connection, name, wanted)
    finally:
        await connection.close()
    typer.echo(f"{name}: {number} shard{'s' * (number > 1)} from now on. outbox status shows its streams.")


async def change(connection: Connection, name: str, wanted: Changed) -> Channel:
    """In one transaction with its line in the audit log. Raises typer.BadParameter."""
    async with connection.transaction():
        found = await channels.channel(connection, name)
        if found is None:
            raise typer.BadParameter(f"there is no channel {name!r}; outbox channel list shows them")
        try:
            check_order(found.config, wanted.shards or 1)
        except ProblemError as error:
            raise typer.BadParameter(error.detail) from None
        changed = await channels.change(connection, Change(name, found.version, shards=wanted.shards))
        if changed is None:
            raise typer.BadParameter(f"somebody else has just changed channel {name}; try again")
        await record(
            connection, commander(), "channel.change", name, {"before": told(found), "after": told(changed)}
        )
        return changed
