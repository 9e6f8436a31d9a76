"""`outbox relay rebase`: the log of a database that was moved, begun anew where it is now."""

from typing import Annotated

import typer

# What the command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415


def rebase(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Begin the log anew in a PostgreSQL that it was copied into: a dump, or logical replication.

    Ticks go by transaction ids, which mean nothing in another cluster. What is
    still open is sent into the streams again; what is settled is not. Stop all
    relays and producers first. Needs the schema's owner
    (OUTBOX_MIGRATE_DATABASE_URL). Safe to repeat; where nothing is to be done
    it says so.

    [bold]Examples[/bold]
      outbox relay rebase --dry-run
      outbox relay rebase --yes
    """
    from outbox.cli.processes import in_loop
    from outbox.cli.rebase_view import run
    from outbox.settings import Settings

    in_loop(run(Settings.load(), dry_run=dry_run, sure=yes))
