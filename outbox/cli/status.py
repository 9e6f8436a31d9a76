"""`outbox status`: relay, streams, deliveries, schedule and dead letters at a glance."""

from typing import Annotated

import typer

# What the command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Use it", short_help="Show what is going on inside; live with --watch.")(
        status
    )


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, live; Ctrl-C ends it.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks, with --watch.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: one JSON object, a line each look.")
    ] = False,
) -> None:
    """Show how far the relay is, what waits in the streams, and what was delivered.

    Reads from Postgres and Redis; costs them little, however much they hold.

    [bold]Examples[/bold]
      outbox status
      outbox status --watch
      outbox status --json | jq .relay.lag_rows
    """
    from outbox.cli.processes import in_loop
    from outbox.cli.status_view import show
    from outbox.settings import Settings

    in_loop(show(Settings.load(), interval if watch else None, as_json=as_json))
