"""`outbox doctor`: is everything as it should be, and what is to be done?"""

from typing import Annotated

import typer

# What the command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look after it", short_help="Check everything, and say what to do.")(doctor)


def doctor(
    providers: Annotated[
        bool,
        typer.Option("--providers", help="Also greet the mail servers (connect and EHLO; sends nothing)."),
    ] = False,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also show what is well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")] = False,
) -> None:
    """Check settings, PostgreSQL, Redis, roles, LISTEN, partitions, clocks, workers, channels and dates.

    Changes nothing and takes less than five seconds. Ends with 0 where all is
    well, 1 with warnings, 2 where something does not work.

    [bold]Examples[/bold]
      outbox doctor
      outbox doctor --providers --all
      outbox doctor --json | jq '.findings[] | select(.level == "fail")'
    """
    from outbox.cli.doctor_view import run
    from outbox.cli.processes import in_loop
    from outbox.local import env
    from outbox.settings import state_dir

    env.adopt(state_dir())  # a channel's config names variables, such as SMTP_URL
    raise typer.Exit(in_loop(run(providers=providers, everything=everything, as_json=as_json)))
