"""`outbox template`: what is in force, as files and back, and a look at what would be sent."""

from pathlib import Path
from typing import Annotated

import typer

# What each command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415

Channel = Annotated[str | None, typer.Option("--channel", "-c", help="Only those of this channel.")]
Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="One folder for each channel, in it one for each.")
]


def add_to(app: typer.Typer) -> None:
    template = typer.Typer(
        name="template",
        short_help="Look at templates, keep them as files, try them out.",
        help="What messages are made from. Versions are kept; the newest is in force.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    template.command("list", short_help="List the templates in force.")(list_templates)
    template.command("export", short_help="Write the templates in force into files.")(export)
    template.command("import", short_help="Publish what files say and the database does not.")(bring_in)
    template.command("preview", short_help="Render one with a payload; sends nothing.")(preview)
    app.add_typer(template, rich_help_panel="Use it")


def list_templates(channel: Channel = None) -> None:
    """List the templates in force: the newest version of each name, channel and language.

    [bold]Examples[/bold]
      outbox template list
      outbox template list --channel email
    """
    from outbox.cli.processes import in_loop
    from outbox.cli.templates_view import show
    from outbox.settings import Settings

    in_loop(show(Settings.load(), channel))


def export(folder: Folder, channel: Channel = None) -> None:
    """Write the templates in force into files, to be edited and kept under version control.

    FOLDER/email/welcome/subject.txt, body.txt and body.html; one for German
    is FOLDER/email/welcome@de/… Empty parts have no file.

    [bold]Examples[/bold]
      outbox template export templates
    """
    from outbox.cli.processes import in_loop
    from outbox.cli.templates_view import write
    from outbox.settings import Settings

    in_loop(write(Settings.load(), folder, channel))


def bring_in(
    folder: Folder,
    channel: Channel = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
) -> None:
    """Publish what files say and the database does not: a new version of each, all or none.

    A template that cannot be compiled is named with its line, and nothing is
    published. Nothing is ever deleted.

    [bold]Examples[/bold]
      outbox template import templates --dry-run
      outbox template import templates
    """
    from outbox.cli.processes import in_loop
    from outbox.cli.templates_view import publish
    from outbox.settings import Settings

    in_loop(publish(Settings.load(), folder, channel, dry_run=dry_run))


def preview(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
    payload: Annotated[str, typer.Option(help="A JSON object.")] = "{}",
    locale: Annotated[str, typer.Option(help="The reader's language: de, pt-BR.")] = "",
) -> None:
    """Render the version in force with a payload, and show the parts. Sends nothing.

    [bold]Examples[/bold]
      outbox template preview email order.paid --payload '{"title": "Order 17"}'
    """
    from outbox.cli.delivery import merge
    from outbox.cli.processes import in_loop
    from outbox.cli.templates_view import preview as try_out
    from outbox.settings import Settings

    in_loop(try_out(Settings.load(), channel, name, locale, merge(payload)))
