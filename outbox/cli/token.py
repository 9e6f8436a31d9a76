"""`outbox token`: an access token for a user's browser or for a producer."""

from enum import StrEnum
from typing import Annotated

import typer

# What the command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415


class Scope(StrEnum):
    """outbox.tokens.Scope, spelled again because that module takes its time to import."""

    USER = "user"
    PRODUCER = "producer"
    BOUNCES = "bounces"
    ADMIN = "admin"


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Use it", short_help="Print an access token for a user or a producer.")(token)


def token(
    user: Annotated[str, typer.Option(help="Whose token: a user's id, or a name for the producer.")],
    scope: Annotated[
        Scope,
        typer.Option(
            help="user: read the own inbox. producer: create notifications and follow them. admin: see failures, "
            "change channels and templates. bounces: hand in mails that came back."
        ),
    ] = Scope.USER,
    days: Annotated[float, typer.Option(min=0.001, max=3650, help="How long it holds.")] = 1,
) -> None:
    """Print an access token, signed with OUTBOX_JWT_SECRET.

    Whoever has it can use it: treat it as a password.

    [bold]Examples[/bold]
      outbox token --user alice               for alice's inbox
      outbox token --user shop --scope producer --days 30
      outbox token --user mx1 --scope bounces --days 365    for the mail server's pipe
    """
    from datetime import timedelta

    from outbox import tokens
    from outbox.settings import Settings

    typer.echo(tokens.issue(Settings.load(), user, tokens.Scope(scope), timedelta(days=days)))
