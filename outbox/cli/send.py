"""`outbox send`: through the API as any producer would, and then along the timeline until it has arrived."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

# What the command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415

HELP = """Send a notification, and follow it until it has arrived.

Ends with code 0 when every channel has delivered it, 1 when one has not
(in time), 2 when the notification is refused.

[bold]Examples[/bold]
  outbox send --user alice --title Hello --body 'It works.'
  outbox send -u alice --title 'Order paid' -c inapp -c email
  outbox send -u alice --event order.paid --payload '{"title": "Order 17"}'
  outbox send -u alice --title Later --at 2030-01-31T09:00+01:00
"""


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Use it", short_help=HELP.partition("\n")[0], help=HELP)(send)


def send(  # noqa: PLR0913, PLR0917 - an option each
    user: Annotated[str, typer.Option("--user", "-u", help="Who is told.")],
    title: Annotated[str | None, typer.Option(help="Short: the subject of a mail.")] = None,
    body: Annotated[str | None, typer.Option(help="The text.")] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", "-c", help="By which channel; may be repeated.  [default: inapp]"),
    ] = None,
    event: Annotated[str, typer.Option(help="What happened, in your words.")] = "message",
    payload: Annotated[str | None, typer.Option(help="A JSON object for templates and clients.")] = None,
    priority: Annotated[str, typer.Option(help="urgent, normal or bulk.")] = "normal",
    template: Annotated[str | None, typer.Option(help="The template to render with.")] = None,
    at: Annotated[str | None, typer.Option(help="Not before this moment: 2030-01-31T09:00+01:00")] = None,
    dedup_key: Annotated[str | None, typer.Option(help="A repeat of the same key is dropped.")] = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the end; 0 does not wait.")] = 30,
) -> None:
    document = {
        "event_type": event,
        "user_id": user,
        "channels": channel or ["inapp"],
        "template_name": template,
        "priority": priority,
        "deliver_at": at,
        "dedup_key": dedup_key,
    }
    deliver(document, payload, {"title": title, "body": body}, timeout)


def deliver(
    document: Mapping[str, Any], payload: str | None, texts: Mapping[str, str | None], timeout: float
) -> None:
    """Create it, without the fields that were not given, and follow it for so many seconds."""
    from outbox.cli import delivery
    from outbox.settings import Settings

    given = {name: value for name, value in document.items() if value is not None}
    whole = given | {"payload": delivery.merge(payload, **texts)}
    settings = Settings.load()
    with delivery.open_api(settings) as api:
        sent = delivery.create(api, whole)
        if settings.trace_url:
            delivery.show_trace(api, sent, settings.trace_url)
        if timeout and not delivery.follow(api, sent, timeout):
            raise typer.Exit(1)
