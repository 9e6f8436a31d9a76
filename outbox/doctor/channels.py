"""What channels are configured with: rules kept, secrets there, templates that compile; mail servers, if asked."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiosmtplib

from db import channels as channel_sql
from db import templates as template_sql
from db.channels import Channel
from db.templates import Published, Template
from outbox.channel_config import broken_rules
from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, ok, warn
from outbox.errors import SettingsError
from outbox.rendering.renderers import Renderers, Unrenderable
from outbox.settings import resolve
from workers.smtp import parse

GREETING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Configured:
    """An enabled channel; `unset`: the variables that its config names and this process has not."""

    name: str
    broken: Sequence[str]
    unset: Sequence[str]


async def configs(desk: Desk) -> list[Configured]:
    found = await desk.ask(channel_sql.all_channels)
    return [configured(channel) for channel in found if channel.enabled]


def configured(channel: Channel) -> Configured:
    broken = [f"{error.field}: {error.rule}" for error in broken_rules(channel.kind, channel.config)]
    return Configured(channel.name, broken, unset(channel.config))


def references(value: Any) -> Iterator[str]:
    """Every env:NAME in a config, wherever it stands."""
    match value:
        case Mapping():
            for item in value.values():
                yield from references(item)
        case list():
            for item in value:
                yield from references(item)
        case str() if value.startswith("env:"):
            yield value


def unset(config: Mapping[str, Any]) -> list[str]:
    names = []
    for reference in dict.fromkeys(references(config)):
        try:
            resolve(reference)
        except SettingsError:
            names.append(reference.removeprefix("env:"))
    return names


def judge_configs(found: Sequence[Configured]) -> Iterator[Finding]:
    for channel in found:
        check = f"channels.{channel.name}"
        for rule in channel.broken:
            yield fail(check, f"{channel.name}: {rule}", f"PATCH /v1/channels/{channel.name}")
        if channel.unset:
            yield warn(
                check,
                f"{channel.name}: {', '.join(channel.unset)} {'is' if len(channel.unset) == 1 else 'are'} not set here",
                f"set {channel.unset[0]} where the channel's workers run (and here, to check it), or switch it "
                f'off: PATCH /v1/channels/{channel.name} {{"enabled": false}}',
            )
        elif not channel.broken:
            yield ok(check, f"{channel.name}: config is complete")


async def templates(desk: Desk) -> list[str]:
    """Why each template in force that does not compile does not."""
    published = await desk.ask(template_sql.in_force)
    renderers = Renderers()
    try:
        answers = [await renderers.render(source(each), None) for each in published]
    finally:
        await renderers.close()
    return [
        f"{each.channel}{'/' + each.locale if each.locale else ''}: {answer.reason}"
        for each, answer in zip(published, answers, strict=True)
        if isinstance(answer, Unrenderable)
    ]


def source(each: Published) -> Template:
    return Template(each.name, each.name, each.version, each.subject, each.body_text, each.body_html)


def judge_templates(broken: Sequence[str]) -> Iterator[Finding]:
    for reason in broken:
        yield fail("templates", reason, "publish a version that compiles: outbox template import FOLDER")
    if not broken:
        yield ok("templates", "every template in force compiles")


@dataclass(frozen=True, slots=True)
class Greeted:
    """A mail server of a channel, and why it could not be greeted."""

    channel: str
    place: str
    trouble: str | None


async def greetings(desk: Desk) -> list[Greeted]:
    """Connect, EHLO, QUIT: no login, no mail. Only with --providers."""
    if not desk.providers:
        return []
    found = [channel for channel in await desk.ask(channel_sql.all_channels) if channel.enabled]
    urls = [
        (channel.name, url)
        for channel in found
        if channel.kind == "email"
        for url in smtp_urls(channel.config)
    ]
    return list(await asyncio.gather(*(greet(name, url) for name, url in urls)))


def smtp_urls(config: Mapping[str, Any]) -> Iterator[str]:
    parts = config.get("providers") or [{"url": config.get("smtp_url")}]
    for part in parts:
        if part.get("type", "smtp") == "smtp" and isinstance(part.get("url"), str):
            yield part["url"]


async def greet(channel: str, reference: str) -> Greeted:
    try:
        server = parse(resolve(reference))
    except SettingsError as error:
        return Greeted(channel, reference, str(error))
    client = server.client(GREETING_SECONDS)
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            await client.connect(username=None, password=None)
            await client.ehlo()
    except (aiosmtplib.SMTPException, OSError) as error:
        return Greeted(channel, f"{server.host}:{server.port}", str(error) or type(error).__name__)
    finally:
        client.close()
    return Greeted(channel, f"{server.host}:{server.port}", None)


def judge_greetings(found: Sequence[Greeted]) -> Iterator[Finding]:
    for each in found:
        check = f"providers.{each.channel}"
        if each.trouble:
            yield fail(
                check,
                f"the mail server {each.place} cannot be used: {each.trouble}",
                f"see the channel's smtp_url, and whether this machine may connect to {each.place}",
            )
        else:
            yield ok(check, f"the mail server {each.place} answers")


AREA = Area(
    "channels",
    frozenset({"postgres"}),
    (
        Check("channels", configs, judge_configs),
        Check("templates", templates, judge_templates),
        Check("providers", greetings, judge_greetings),
    ),
)
