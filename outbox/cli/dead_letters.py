"""`outbox dlq`: what could not be delivered, and another try for it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer

# What each command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415

Channel = Annotated[str | None, typer.Option("--channel", "-c", help="Only those of this channel.")]
ErrorClass = Annotated[str | None, typer.Option("--error-class", help="Only those of this class of error.")]
Since = Annotated[
    datetime | None, typer.Option(help="Only those that failed since then (UTC): 2030-01-31T09:00:00")
]


def add_to(app: typer.Typer) -> None:
    dlq = typer.Typer(
        name="dlq",
        short_help="Look at what could not be delivered, and send it on its way again.",
        help="Look at the dead letters: what could not be delivered, and why. Send them on their way again.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    dlq.command("list", short_help="List the dead letters, newest first.")(list_letters)
    dlq.command("redrive", short_help="Send dead letters on their way again.")(redrive)
    app.add_typer(dlq, rich_help_panel="Use it")


def list_letters(
    channel: Channel = None,
    error_class: ErrorClass = None,
    since: Since = None,
    redriven: Annotated[
        bool, typer.Option("--redriven", help="Also those that were redriven before.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 50,
) -> None:
    """List the dead letters, newest first, with the reason of each.

    Below them: how many there are of each kind, shown or not.

    [bold]Examples[/bold]
      outbox dlq list
      outbox dlq list --channel email -n 10
      outbox dlq list --error-class permanent --since 2030-01-31T09:00:00
    """
    from db.dead import Filter
    from outbox.cli.dead_letters_view import show
    from outbox.cli.processes import in_loop
    from outbox.settings import Settings

    in_loop(show(Settings.load(), Filter(channel, error_class, aware(since), redriven), limit))


def redrive(  # noqa: PLR0913, PLR0917 - an option each
    ids: Annotated[list[UUID] | None, typer.Argument(metavar="ID", help="These letters.")] = None,
    channel: Channel = None,
    error_class: ErrorClass = None,
    since: Since = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="How many at most, the oldest first.")
    ] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
) -> None:
    """Send dead letters on their way again; what was delivered since is never sent twice.

    Name letters by id, or choose them by channel, class of error or time,
    or say --all. Each gets as many further attempts as its channel allows.

    [bold]Examples[/bold]
      outbox dlq redrive 01a2037c-764b-76e8-a64c-ef8d6967e85a
      outbox dlq redrive --channel email --dry-run
      outbox dlq redrive --all
    """
    from db.dead import Filter
    from outbox.cli.dead_letters_view import send_again
    from outbox.cli.processes import in_loop
    from outbox.errors import SettingsError
    from outbox.settings import Settings

    chosen = channel or error_class or since or everything
    if bool(ids) == bool(chosen):
        raise SettingsError(
            "say which: either ids, or a choice by --channel, --error-class, --since or --all"
        )
    which = ids or Filter(channel, error_class, aware(since))
    in_loop(send_again(Settings.load(), which, limit, dry_run=dry_run))


def aware(moment: datetime | None) -> datetime | None:
    from datetime import UTC

    return moment and moment.replace(tzinfo=moment.tzinfo or UTC)
