"""The command line. Each command imports what it needs when it runs, so that `--help` is quick."""

from typing import Annotated

import typer

from outbox.cli import (
    channels,
    dead_letters,
    doctor,
    keys,
    local,
    privacy,
    processes,
    selftest,
    send,
    status,
    templates,
    token,
)
from outbox.cli.failures import Readable

app = typer.Typer(
    cls=Readable,
    name="outbox",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)


@app.callback()
def outbox(
    parent_pipe: Annotated[bool, typer.Option("--parent-pipe", hidden=True)] = False,
) -> None:
    """Notifications that commit with your data.

    [bold]Start here[/bold]
      [cyan]outbox up[/cyan]                                everything, on this machine
      [cyan]outbox send --user alice --title Hello[/cyan]   send, follow until it arrives
      [cyan]outbox status --watch[/cyan]                    what is going on inside

    Settings come from the environment (DATABASE_URL, REDIS_URL, OUTBOX_…), and
    from a running [cyan]outbox up[/cyan] for what the environment leaves open.
    """
    if parent_pipe:
        from outbox.cli import lifeline  # noqa: PLC0415 - as the module's docstring says

        lifeline.hold()


local.add_to(app)
send.add_to(app)
status.add_to(app)
token.add_to(app)
keys.add_to(app)
channels.add_to(app)
dead_letters.add_to(app)
templates.add_to(app)
privacy.add_to(app)
doctor.add_to(app)
selftest.add_to(app)
processes.add_to(app)
