"""`outbox channel`: what can be sent through, and into how many streams it is cut."""

from typing import Annotated

import typer

# What each command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415


def add_to(app: typer.Typer) -> None:
    channel = typer.Typer(
        name="channel",
        short_help="Look at the channels, cut a hot one into shards.",
        help="The channels: what can be sent through. PATCH /v1/channels/{name} changes the rest of them.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    channel.command("list", short_help="List the channels.")(list_channels)
    channel.command("shards", short_help="Cut a channel's streams into shards, by user.")(shards)
    app.add_typer(channel, rich_help_panel="Use it")


def list_channels() -> None:
    """List the channels: kind, whether on, how often each tries, and its shards.

    [bold]Examples[/bold]
      outbox channel list
    """
    from outbox.cli.channels_view import show
    from outbox.cli.processes import in_loop
    from outbox.settings import Settings

    in_loop(show(Settings.load()))


def shards(
    name: Annotated[str, typer.Argument(metavar="CHANNEL", help="Its name, as `list` shows it.")],
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="1, 2, 4, 8, 16, 32 or 64.")],
) -> None:
    """Cut a channel's streams into so many shards, by user, or put them together again with 1.

    The relay and the workers notice within a second or two. Nothing is lost and nothing comes twice;
    what is in a stream that gets nothing new any more is worked off.

    [bold]Examples[/bold]
      outbox channel shards email 4
      outbox channel shards email 1
    """
    from outbox.cli.channels_view import cut
    from outbox.cli.processes import in_loop
    from outbox.settings import Settings

    in_loop(cut(Settings.load(), name, number))
