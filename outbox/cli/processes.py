"""`outbox api | relay | worker | gateway | migrate`: one process each, for a container, a unit, or `outbox up`."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from outbox.cli.rebase import rebase

# What each command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415

Result = TypeVar("Result")
PANEL = "Processes (one each; outbox up runs them all)"
BALANCED = {"api", "gateway"}  # clients come to these, by way of whoever shares them out


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL, short_help="Bring the database schema up to date.")(migrate)
    app.command(rich_help_panel=PANEL, short_help="Serve the HTTP API.")(api)
    moving = typer.Typer(name="relay", rich_markup_mode="rich")
    moving.callback(invoke_without_command=True, help=relay.__doc__)(relay_unless_more_is_said)
    moving.command("rebase", short_help="Begin the log anew in a database that it was copied into.")(rebase)
    short = "Move committed rows from Postgres into the streams."
    app.add_typer(moving, rich_help_panel=PANEL, short_help=short)
    app.command(rich_help_panel=PANEL, short_help="Deliver what comes on the streams.")(worker)
    app.command(rich_help_panel=PANEL, short_help="Hold the browsers' WebSockets.")(gateway)
    app.command(hidden=True)(mailsink)
    app.command(hidden=True)(doubles)


def api() -> None:
    """Serve the HTTP API: POST /v1/notifications and the timeline of each.

    Listens on OUTBOX_HOST:OUTBOX_API_PORT (127.0.0.1:8080).
    Run as many as you like.

    [bold]Examples[/bold]
      outbox api
      OUTBOX_HOST=0.0.0.0 OUTBOX_API_PORT=80 outbox api
    """
    from outbox.api.main import main
    from outbox.local import env
    from outbox.settings import state_dir

    env.adopt(
        state_dir()
    )  # a channel's config names variables, such as the token that Twilio's callbacks are signed by
    run("api", "api_port", main)


def relay() -> None:
    """Move committed outbox rows from Postgres into the streams of Redis.

    A second one stands by and takes over within OUTBOX_RELAY_LEASE seconds (10).
    Health and metrics are on OUTBOX_RELAY_PORT (9101).

    [bold]Examples[/bold]
      outbox relay
      OUTBOX_RELAY_PORT=9111 outbox relay     a standby on the same machine
    """
    from relay.main import main

    run("relay", "relay_port", main)


def relay_unless_more_is_said(context: typer.Context) -> None:
    """`outbox relay` is a process, `outbox relay rebase` a command."""
    if context.invoked_subcommand is None:
        relay()


def worker(
    channels: Annotated[
        list[str] | None, typer.Argument(metavar="CHANNEL", help="Which channels; all if none is named.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--except", metavar="CHANNEL", help="All but this one; may be given several times."),
    ] = None,
) -> None:
    """Deliver what comes on the streams: claim, send, settle, acknowledge.

    Workers share the work of a channel.
    Health and metrics are on OUTBOX_WORKER_PORT (9102).

    [bold]Examples[/bold]
      outbox worker                           all channels in one process, new ones as they are added
      outbox worker email                     e-mail alone, to scale it by itself
      outbox worker --except email            all others, those added later among them
      OUTBOX_WORKER_PORT=9112 outbox worker inapp
    """
    from outbox.local import env
    from outbox.settings import state_dir
    from workers.main import main

    if channels and without:
        raise typer.BadParameter(f"--except {without[0]} leaves one out of all, but {channels[0]} is named")
    wanted = channels or []  # all, those added later among them
    left_out = without or []
    env.adopt(state_dir())  # a channel's config names variables, such as SMTP_URL
    run("worker", "worker_port", lambda settings, stop: main(settings, wanted, stop, left_out))


def gateway() -> None:
    """Hold the browsers' WebSockets and tell each user what arrives.

    Listens on OUTBOX_HOST:OUTBOX_GATEWAY_PORT (127.0.0.1:8081).
    Run as many as you like.

    [bold]Examples[/bold]
      outbox gateway
      OUTBOX_GATEWAY_ORIGINS=https://app.example.com outbox gateway
    """
    from gateway.main import main

    run("gateway", "gateway_port", main)


def migrate(
    with_demo: Annotated[
        bool, typer.Option("--with-demo", help="Also add the recipient alice, for trying things out.")
    ] = False,
    double: Annotated[
        list[str] | None,
        typer.Option(
            help="With it: point this channel (push, webhook) at `outbox doubles`, unless it was configured."
        ),
    ] = None,
) -> None:
    """Bring the database schema up to date. Safe to repeat.

    Needs the rights of the schema's owner: OUTBOX_MIGRATE_DATABASE_URL, else
    DATABASE_URL. Waits up to 30 seconds for a PostgreSQL that is starting.

    [bold]Examples[/bold]
      outbox migrate
      OUTBOX_MIGRATE_DATABASE_URL=postgresql://owner@db/shop outbox migrate
      alembic upgrade head --sql              only print the SQL, for a DBA
    """
    from outbox import log
    from outbox.cli.migration import bring_up_to_date
    from outbox.settings import Settings

    settings = Settings.load()
    log.configure("migrate", settings.log, settings.log_level)
    bring_up_to_date(settings.migrate_database, with_demo=with_demo, doubled=double or ())


def mailsink(
    folder: Annotated[
        Path | None, typer.Option(help="Where mails are kept; in the state directory if not set.")
    ] = None,
    smtp_port: Annotated[int, typer.Option(envvar="OUTBOX_SMTP_PORT")] = 1025,
    web_port: Annotated[int, typer.Option(envvar="OUTBOX_MAIL_PORT")] = 8025,
    host: Annotated[str, typer.Option(envvar="OUTBOX_HOST")] = "127.0.0.1",
    mode: Annotated[Literal["auto", "console", "json"], typer.Option("--log", envvar="OUTBOX_LOG")] = "auto",
) -> None:
    """Catch every mail instead of sending it, and show it on a web page. For development.

    [bold]Examples[/bold]
      outbox mailsink
      outbox mailsink --smtp-port 2525 --web-port 8026 --folder /tmp/mail
    """
    from outbox import log, service
    from outbox.local.mailsink import Place, main
    from outbox.settings import state_dir

    log.configure("mailsink", mode)
    place = Place(folder or state_dir() / "mail", host, smtp_port, web_port)
    in_loop(service.run(lambda stop: main(place, stop), grace=3))


def doubles(  # noqa: PLR0913, PLR0917 - a port each
    host: Annotated[str, typer.Option(envvar="OUTBOX_HOST")] = "127.0.0.1",
    name: Annotated[
        str | None,
        typer.Option(
            help="Under which others reach this machine: what they need is left in the state directory."
        ),
    ] = None,
    callbacks: Annotated[
        str | None, typer.Option(help="Where the API is found from here, if not at its OUTBOX_API_URL.")
    ] = None,
    page_port: Annotated[int, typer.Option(envvar="OUTBOX_PROVIDERS_PORT")] = 8026,
    twilio_port: Annotated[int, typer.Option(envvar="OUTBOX_TWILIO_PORT")] = 8031,
    sendgrid_port: Annotated[int, typer.Option(envvar="OUTBOX_SENDGRID_PORT")] = 8032,
    fcm_port: Annotated[int, typer.Option(envvar="OUTBOX_FCM_PORT")] = 8033,
    apns_port: Annotated[int, typer.Option(envvar="OUTBOX_APNS_PORT")] = 8034,
    hook_port: Annotated[int, typer.Option(envvar="OUTBOX_HOOK_PORT")] = 8035,
    mode: Annotated[Literal["auto", "console", "json"], typer.Option("--log", envvar="OUTBOX_LOG")] = "auto",
) -> None:
    """Stand in for Twilio, SendGrid, FCM, APNs and a webhook receiver, on this machine. For development.

    They take everything and send it to nobody. A web page shows what came, and
    lets any of them fail.

    [bold]Examples[/bold]
      outbox doubles
      OUTBOX_STATE=/tmp/two outbox doubles --page-port 8126
    """
    from outbox import log, service
    from outbox.local.providers import Place, main
    from outbox.settings import state_dir

    log.configure("doubles", mode)
    ports = {
        "twilio": twilio_port,
        "sendgrid": sendgrid_port,
        "fcm": fcm_port,
        "apns": apns_port,
        "webhook": hook_port,
    }
    place = Place(state_dir(), host, page_port, ports, name, callbacks)
    # asyncio's own loop, in which a connection that has just been closed can still be told to reset.
    asyncio.run(service.run(lambda stop: main(place, stop), grace=3))


def run(name: str, port: str, main: Callable[..., Awaitable[None]]) -> None:
    """One process from settings to exit. `port` names the setting of the port it serves."""
    from outbox import log, production, service, tracing
    from outbox.cli import reach
    from outbox.settings import Settings

    settings = Settings.load()
    production.refuse(settings)
    log.configure(name, settings.log, settings.log_level)
    tracing.start(settings, name)

    async def begin(stop: service.Stop) -> None:
        await reach.patiently(settings, name, getattr(settings, port), stop)
        if not stop:
            await main(settings, stop)

    delay = settings.shutdown_delay if name in BALANCED else 0
    try:
        in_loop(service.run(begin, grace=settings.shutdown_grace, delay=delay))
    finally:
        tracing.stop()


def in_loop(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        from uvloop import new_event_loop as make
    except ImportError:  # not on Windows
        make = None  # type: ignore[assignment]  # the standard loop then
    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(work)
