"""`outbox user`: all that is kept of a person, and its erasure."""

from pathlib import Path
from typing import Annotated

import typer

# What each command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415

User = Annotated[str, typer.Argument(metavar="USER", help="The person's id, as producers give it.")]


def add_to(app: typer.Typer) -> None:
    user = typer.Typer(
        name="user",
        short_help="Export all that is kept of a person, or erase it.",
        help="What is kept of a person: export it, or erase it from tables, log and streams.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    user.command("export", short_help="Print all that is kept of a person.")(export)
    user.command("erase", short_help="Erase a person, for good.")(erase)
    app.add_typer(user, rich_help_panel="Use it")


def export(
    user: User,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Into this file, which others cannot read.")
    ] = None,
) -> None:
    """Print all that is kept of a person, as one JSON document.

    [bold]Examples[/bold]
      outbox user export alice
      outbox user export alice -o alice.json
    """
    from outbox.cli.privacy_work import write_export
    from outbox.cli.processes import in_loop
    from outbox.settings import Settings

    in_loop(write_export(Settings.load(), user, output))


def erase(
    user: User,
    address: Annotated[
        list[str] | None,
        typer.Option(
            help="An address or number the person had before; those in use are known. May be repeated."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a person, for good: every table, the log, the streams, the dead letters.

    Ends when nothing is left, a little more than a worker's lease later.
    Stopped before that, it goes on by itself in any running API, or when it is called again.

    [bold]Examples[/bold]
      outbox user erase alice
      outbox user erase alice --address alice@old.example --yes
    """
    from outbox.cli.privacy_work import carry_out
    from outbox.cli.processes import in_loop
    from outbox.settings import Settings

    if not yes:
        typer.confirm(f"Erase everything that is kept of {user!r}?", abort=True)
    in_loop(carry_out(Settings.load(), user, address or []))
