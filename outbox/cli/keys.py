"""`outbox key`: keys for programs, straight from the database, for whoever has the service's login."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

# What each command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415


class Scope(StrEnum):
    """What a key may have of outbox.tokens.Scope, spelled again because that module takes its time to import."""

    PRODUCER = "producer"
    BOUNCES = "bounces"
    ADMIN = "admin"


def add_to(app: typer.Typer) -> None:
    key = typer.Typer(
        name="key",
        short_help="Make API keys, look at them, revoke them.",
        help="API keys: what programs come in with. Users have tokens instead.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    key.command("create", short_help="Make a key, and print it this once.")(create)
    key.command("list", short_help="List the keys, newest first.")(list_keys)
    key.command("revoke", short_help="Revoke a key, for good.")(revoke)
    app.add_typer(key, rich_help_panel="Use it")


def create(
    name: Annotated[str, typer.Option(help="What for: shop, crm, nightly-report.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; several, if given several times.")
    ] = None,
    event_type: Annotated[
        list[str] | None,
        typer.Option("--event-type", "-e", help="Only these, like order.paid or order.*; for producers."),
    ] = None,
    channel: Annotated[
        list[str] | None, typer.Option("--channel", "-c", help="Only these channels; for producers.")
    ] = None,
    rate: Annotated[str | None, typer.Option(help="A rate of its own: 600/minute.")] = None,
    expires: Annotated[
        datetime | None,
        typer.Option(help="Until then (UTC): 2030-01-31T09:00:00. Without it: until revoked."),
    ] = None,
) -> None:
    """Make an API key, and print it. It is shown this once: only a hash of it is kept.

    Its id and terms go to stderr, so that the key alone can be piped on.

    [bold]Examples[/bold]
      outbox key create --name shop
      outbox key create --name shop --event-type 'order.*' --channel inapp --channel email
      outbox key create --name mx1 --scope bounces --expires 2030-01-31T09:00:00
    """
    from datetime import UTC

    from outbox.cli.keys_view import make_and_show
    from outbox.cli.processes import in_loop
    from outbox.settings import Settings

    wanted = {
        "name": name,
        "scopes": [str(each) for each in scope or [Scope.PRODUCER]],
        "event_types": event_type or None,
        "channels": channel or None,
        "rate": rate,
        "expires_at": expires and expires.replace(tzinfo=expires.tzinfo or UTC),
    }
    in_loop(make_and_show(Settings.load(), wanted))


def list_keys(
    over: Annotated[
        bool, typer.Option("--over", help="Also those that were revoked or have expired.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many at most.")] = 100,
) -> None:
    """List the API keys, newest first: what each may do, until when, and when it was used last.

    [bold]Examples[/bold]
      outbox key list
      outbox key list --over -n 10
    """
    from outbox.cli.keys_view import show
    from outbox.cli.processes import in_loop
    from outbox.settings import Settings

    in_loop(show(Settings.load(), over=over, limit=limit))


def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `list` shows it.")],
) -> None:
    """Revoke an API key, for good. Every process refuses it within five seconds.

    [bold]Examples[/bold]
      outbox key revoke 3fRk0aZp9QxT
    """
    from outbox.cli.keys_view import end
    from outbox.cli.processes import in_loop
    from outbox.settings import Settings

    in_loop(end(Settings.load(), key_id))
