"""Templates at the command line: listed, written, published, previewed."""

from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from db import notifications, templates
from db.pool import Connection
from db.templates import Draft, Published, Template
from outbox.audit import record
from outbox.cli import reach, templates_files
from outbox.cli.commander import commander
from outbox.errors import SettingsError
from outbox.rendering import layouts
from outbox.rendering.renderers import Rendered, Renderers, Unrenderable
from outbox.rendering.sample import sample
from outbox.settings import Settings


async def show(settings: Settings, channel: str | None) -> None:
    found = await in_force(settings, channel)
    if not found:
        typer.echo("There are no templates.")
        return
    made = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for column in ("channel", "name", "language", "version", "published (UTC)", "parts"):
        made.add_column(column)
    for each in found:
        parts = ", ".join(part for part in templates_files.FILES if getattr(each, part))
        when = f"{each.created_at:%Y-%m-%d %H:%M}"
        made.add_row(each.channel, each.name, each.locale or "any", str(each.version), when, parts)
    Console().print(made)


async def write(settings: Settings, folder: Path, channel: str | None) -> None:
    for each in await in_force(settings, channel):
        typer.echo(templates_files.write(folder, each))


async def in_force(settings: Settings, channel: str | None) -> list[Published]:
    connection = await reach.postgres(settings.database, "template")
    try:
        return await templates.in_force(connection, channel)
    finally:
        await connection.close()


async def publish(settings: Settings, folder: Path, channel: str | None, *, dry_run: bool) -> None:
    """All or none. Raises SettingsError naming every template that cannot be published."""
    drafts = list(templates_files.read(folder, channel))
    await refuse_broken(drafts)
    connection = await reach.postgres(settings.database, "template")
    try:
        await refuse_unknown_channels(connection, drafts)
        transaction = connection.transaction()
        await transaction.start()
        for draft in drafts:
            version, fresh = await templates.publish(connection, draft)
            if fresh:
                detail = {"locale": draft.locale, "version": version, "fresh": True}
                target = f"{draft.channel}/{draft.name}"
                await record(connection, commander(), "template.publish", target, detail)
                language = f" ({draft.locale})" if draft.locale else ""
                typer.echo(f"{draft.channel} {draft.name}{language}: version {version}")
        await (transaction.rollback() if dry_run else transaction.commit())
    finally:
        await connection.close()
    typer.echo(f"{len(drafts)} templates looked at." + (" Nothing was changed." if dry_run else ""))


async def refuse_broken(drafts: list[Draft]) -> None:
    renderers = Renderers()
    try:
        results = [await renderers.render(template_of(draft), None) for draft in drafts]
    finally:
        await renderers.close()
    if broken := [result.reason for result in results if isinstance(result, Unrenderable)]:
        raise SettingsError("\n".join(broken))


async def refuse_unknown_channels(connection: Connection, drafts: list[Draft]) -> None:
    known = await notifications.known_channels(connection)
    if unknown := {draft.channel for draft in drafts} - set(known):
        raise SettingsError(f"no such channel: {', '.join(sorted(unknown))}; known are {', '.join(known)}")


async def preview(settings: Settings, channel: str, name: str, locale: str, payload: dict[str, Any]) -> None:
    connection = await reach.postgres(settings.database, "template")
    try:
        versions = await find(connection, channel, name, locale)
        template = template_of(versions)
        readable = layouts.for_reader(await layouts.fetch(connection, channel, [template]), locale)
    finally:
        await connection.close()
    renderers = Renderers()
    try:
        result = await renderers.render(template, sample(payload, locale), readable)
    finally:
        await renderers.close()
    if not isinstance(result, Rendered):
        raise SettingsError(
            result.reason if isinstance(result, Unrenderable) else "there was no time to render it"
        )
    for title, part in (("subject", result.subject), ("text", result.text), ("html", result.html)):
        if part:
            typer.secho(f"── {title}", dim=True)
            typer.echo(part)


async def find(connection: Connection, channel: str, name: str, locale: str) -> Published:
    """The version in force for a language. Raises SettingsError."""
    for language in layouts.languages(locale):
        if versions := await templates.versions(connection, channel, name, language):
            return versions[0]
    raise SettingsError(f"there is no template {name!r} of channel {channel}; see outbox template list")


def template_of(draft: Draft | Published) -> Template:
    version = draft.version if isinstance(draft, Published) else 0
    return Template("", draft.name, version, draft.subject, draft.body_text, draft.body_html)
