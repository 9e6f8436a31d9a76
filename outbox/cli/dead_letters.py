"""`outbox dlq`: what could not be delivered, and another try for it."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

if TYPE_CHECKING:
    from db.dead import Filter

# What each command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415

Channel = Annotated[str | None, typer.Option("--channel", "-c", help="Only those of this channel.")]
ErrorClass = Annotated[str | None, typer.Option("--error-class", help="Only those of this class of error.")]
Since = Annotated[
    datetime | None, typer.Option(help="Only those that failed since then (UTC): 2030-01-31T09:00:00")
]
Ids = Annotated[list[UUID] | None, typer.Argument(metavar="ID", help="These letters.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most, the oldest first.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]


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
    dlq.command("discard", short_help="Put dead letters out of the list.")(discard)
    app.add_typer(dlq, rich_help_panel="Use it")


def list_letters(
    channel: Channel = None,
    error_class: ErrorClass = None,
    since: Since = None,
    closed: Annotated[
        bool, typer.Option("--closed", help="Also those that were redriven or discarded before.")
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

    in_loop(show(Settings.load(), Filter(channel, error_class, aware(since), closed=closed), limit))


def redrive(  # noqa: PLR0913, PLR0917 - an option each
    ids: Ids = None,
    channel: Channel = None,
    error_class: ErrorClass = None,
    since: Since = None,
    everything: Everything = False,
    limit: Limit = 1000,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="So many a second, rather than all at once.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Send dead letters on their way again; what was delivered since is never sent twice.

    Name letters by id, or choose them by channel, class of error or time,
    or say --all. Each gets as many further attempts as its channel allows.

    [bold]Examples[/bold]
      outbox dlq redrive 01a2037c-764b-76e8-a64c-ef8d6967e85a
      outbox dlq redrive --channel email --dry-run
      outbox dlq redrive --all --rate 20
    """
    from db.dead import Order
    from outbox.cli.dead_letters_view import send_again
    from outbox.cli.processes import in_loop
    from outbox.settings import Settings

    which = chosen(ids, channel, error_class, since, everything=everything)
    in_loop(send_again(Settings.load(), which, Order(limit, dry_run, rate)))


def discard(  # noqa: PLR0913, PLR0917 - an option each
    ids: Ids = None,
    channel: Channel = None,
    error_class: ErrorClass = None,
    since: Since = None,
    everything: Everything = False,
    limit: Limit = 1000,
    dry_run: DryRun = False,
) -> None:
    """Put dead letters out of the list. Nothing is deleted: each timeline keeps what happened.

    [bold]Examples[/bold]
      outbox dlq discard 01a2037c-764b-76e8-a64c-ef8d6967e85a
      outbox dlq discard --channel sms --error-class 21211
    """
    from db.dead import Order
    from outbox.cli.dead_letters_view import discard as put_away
    from outbox.cli.processes import in_loop
    from outbox.settings import Settings

    which = chosen(ids, channel, error_class, since, everything=everything)
    in_loop(put_away(Settings.load(), which, Order(limit, dry_run)))


def chosen(
    ids: list[UUID] | None,
    channel: str | None,
    error_class: str | None,
    since: datetime | None,
    *,
    everything: bool,
) -> "Filter | list[UUID]":
    from db.dead import Filter
    from outbox.errors import SettingsError

    if bool(ids) == bool(channel or error_class or since or everything):
        raise SettingsError(
            "say which: either ids, or a choice by --channel, --error-class, --since or --all"
        )
    return ids or Filter(channel, error_class, aware(since))


def aware(moment: datetime | None) -> datetime | None:
    from datetime import UTC

    return moment and moment.replace(tzinfo=moment.tzinfo or UTC)
