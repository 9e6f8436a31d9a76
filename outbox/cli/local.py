"""`outbox up | down | logs | reset`: the whole system on this machine."""

from typing import Annotated

import typer

# What each command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415

PANEL = "On this machine"


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL, short_help="Start everything, on this machine.")(up)
    app.command(rich_help_panel=PANEL, short_help="Stop it; the data stays.")(down)
    app.command(rich_help_panel=PANEL, short_help="Show what its processes have logged.")(logs)
    app.command(rich_help_panel=PANEL, short_help="Stop it, and delete all local data.")(reset)


NoDocker = Annotated[
    bool,
    typer.Option(
        "--no-docker", envvar="OUTBOX_NO_DOCKER", help="Use the embedded servers even with a Docker engine."
    ),
]


def up(
    no_docker: NoDocker = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once everything runs, and leave it running.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Start Prometheus and Grafana, too; needs a Docker engine.")
    ] = False,
) -> None:
    """Start everything: servers, schema, API, relay, worker, gateway, a mail sink, and doubles of the providers.

    With a Docker engine it runs compose.yml: two of each, a worker for each
    channel, and one address for all of it. Without one it starts a PostgreSQL and a Redis of its own, keeps
    their data in one folder (.outbox in the checkout, or OUTBOX_STATE),
    restarts what dies, and stops cleanly on Ctrl-C.

    The doubles stand in for Twilio, SendGrid, FCM, APNs and a webhook receiver:
    every channel works offline. Set TWILIO_ACCOUNT_SID and the like, and that
    channel is left to your own account (without Docker; in containers, by a
    second file for compose: docs/channels.md).

    [bold]Examples[/bold]
      outbox up
      outbox up --no-docker --detach      in the background; outbox down stops it
      OUTBOX_API_PORT=9000 outbox up      on another port
      OUTBOX_STATE=/tmp/two outbox up     a second system beside the first
    """
    from outbox.local import compose, up, up_detached
    from outbox.local.env import LocalError
    from outbox.settings import state_dir

    state = state_dir()
    if not no_docker and compose.usable():
        compose.up(state, detach=detach, watch=watch)
    elif watch:
        raise LocalError("--watch starts Prometheus and Grafana as containers, and no Docker engine answers")
    elif detach:
        typer.echo(up_detached.start(state))
    else:
        up.run(state)


def down() -> None:
    """Stop what `outbox up` started, and wait until it has stopped.

    The data stays, and so do the ports and the passwords.

    [bold]Examples[/bold]
      outbox down
      OUTBOX_STATE=/tmp/two outbox down
    """
    from outbox.local import compose, up_detached
    from outbox.settings import state_dir

    state = state_dir()
    if up_detached.stop(state):
        typer.echo("Outbox has stopped; the data stays.")
    elif compose.started(state):
        compose.call(state, "--profile", compose.WATCH, "down")
    else:
        typer.echo("Outbox is not running.")


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with every new line.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
) -> None:
    """Show what the processes of `outbox up` have logged.

    The log is kept in the state directory, at most 10 MB of it.

    [bold]Examples[/bold]
      outbox logs                         the last 50 lines
      outbox logs -f                      and all that come; Ctrl-C ends it
      outbox logs -n 1000 | grep relay
    """
    from outbox.local import compose, up_lock
    from outbox.local.up_logs import show
    from outbox.settings import state_dir

    state = state_dir()
    if up_lock.running(state) is None and compose.started(state):
        compose.become(state, "logs", *(["--follow"] if follow else []), "--tail", str(lines))
    else:
        show(state, lines, follow=follow)


def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop, and delete all local data: notifications, mails, logs, passwords.

    Asks first. A database given by DATABASE_URL is not touched.

    [bold]Examples[/bold]
      outbox reset
      outbox reset --yes && outbox up     begin afresh
    """
    from outbox.local import compose, up_detached
    from outbox.local.servers import erase
    from outbox.settings import state_dir

    state = state_dir()
    if not yes:
        typer.confirm(f"Delete all data in {state}?", abort=True)
    if not up_detached.stop(state) and compose.started(state):
        compose.call(state, "--profile", compose.WATCH, "down", "--volumes")
    erase(state)
    typer.echo(f"Deleted {state}.")
