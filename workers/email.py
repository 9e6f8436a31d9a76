"""The e-mail channel: template → message → mail server."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from db import delivery
from db.delivery import Claim, Template
from db.pool import Executor
from outbox.errors import SettingsError
from outbox.log import get
from outbox.settings import resolve
from workers.job import Hint, Job
from workers.message import BadAddressError, compose, message_id, sender
from workers.outcome import LeaseShort, Outcome, Permanent, Transient, clean
from workers.smtp import CONNECTIONS, Mailer, parse
from workers.templates import Rendered, Renderers, Starved, Unrenderable

log = get("worker")

BUDGET_SECONDS = 30.0
TEMPLATES_KEPT = 1_000


class Email:
    """For one lane: its connections, its renderers, its copies of config and templates."""

    name = "email"
    outward = True

    def __init__(self, concurrency: int, lease_seconds: float) -> None:
        self.capacity = min(concurrency, CONNECTIONS)
        # An attempt that has begun must end before another worker may take the delivery over.
        self.budget = min(BUDGET_SECONDS, lease_seconds / 2)
        self._version: int | None = None
        self._trouble = "the channel's config was not read yet"
        self._mailer: Mailer | None = None
        self._sender = Address()
        self._templates: dict[str, Template] = {}
        self._renderers = Renderers()

    async def prepare(self, executor: Executor, claims: Sequence[Claim]) -> None:
        if any(claim.version != self._version for claim in claims):
            await self._configure(executor)
        wanted = {claim.template for claim in claims if claim.template} - self._templates.keys()
        if wanted:
            if len(self._templates) > TEMPLATES_KEPT:
                self._templates.clear()
                wanted = {claim.template for claim in claims if claim.template}
            for template in await delivery.template_sources(executor, wanted):
                self._templates[template.key] = template

    async def _configure(self, executor: Executor) -> None:
        found = await delivery.channel_config(executor, self.name)
        if found is None or found[0] == self._version:
            return
        await self._forget_server()
        self._version, config = found
        try:
            self._sender, self._mailer = self.from_config(config)
            self._trouble = ""
        except SettingsError as error:
            self._trouble = clean(str(error))
        log.info("worker.configured", channel=self.name, version=self._version, trouble=self._trouble or None)

    def from_config(self, config: Mapping[str, Any]) -> tuple[Address, Mailer]:
        """Raises SettingsError."""
        for key in ("smtp_url", "from"):
            if not isinstance(config.get(key), str):
                raise SettingsError(f"{key} is missing in the config of channel {self.name}")
        return sender(config["from"]), Mailer(parse(resolve(config["smtp_url"])), self.budget)

    async def attempt(self, job: Job) -> Outcome:
        mailer, origin = self._mailer, self._sender
        if mailer is None:
            return Transient("config", self._trouble)
        template = self._template(job)
        if not isinstance(template, Template):
            return template
        rendered = await self._renderers.render(template, variables(job))
        if not isinstance(rendered, Rendered):
            return unrendered(rendered)
        try:
            identity = message_id(job.entry.notification_id, self.name, origin.domain)
            letter = compose(rendered, origin, job.claim.contact or "", identity)
        except BadAddressError as error:
            return Permanent("bad_address", str(error))
        if not job.lasts(self.budget):
            return LeaseShort()
        return await mailer.send(letter)

    def _template(self, job: Job) -> Template | Outcome:
        if job.claim.template is None:
            return Permanent("template", missing(job))
        found = self._templates.get(job.claim.template)
        return found or Transient("template", "the template was deleted at this very moment")

    async def within(self, executor: Executor, delivered: Sequence[Job]) -> Sequence[Hint]:
        return ()

    async def again(self, executor: Executor, user_ids: Sequence[str]) -> Sequence[Hint]:
        return ()

    async def close(self) -> None:
        await self._renderers.close()
        await self._forget_server()

    async def _forget_server(self) -> None:
        mailer, self._mailer = self._mailer, None
        if mailer:
            await mailer.close()


def unrendered(why: Unrenderable | Starved) -> Outcome:
    if isinstance(why, Starved):
        return Transient("starved", "there was no time to render the template")
    return Permanent("template", clean(why.reason))


def missing(job: Job) -> str:
    name = job.entry.envelope.template_name or job.entry.envelope.event_type
    return f"there is no template {name!r} for channel email in the recipient's language or for all"


def variables(job: Job) -> dict[str, Any]:
    """What a template sees: plain data only."""
    envelope = job.entry.envelope
    return {
        "notification_id": str(envelope.notification_id),
        "event_type": envelope.event_type,
        "user_id": envelope.user_id,
        "actor_user_id": envelope.actor_user_id,
        "payload": envelope.payload,
        "locale": job.claim.locale,
        "created_at": local_time(envelope.created_at, job.claim.time_zone),
    }


def local_time(moment: datetime, time_zone: str | None) -> str:
    """ISO 8601, in the recipient's time zone where it is known."""
    try:
        zone = ZoneInfo(time_zone) if time_zone else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = UTC
    try:
        return moment.astimezone(zone).isoformat(timespec="seconds")
    except OverflowError:
        return moment.isoformat(timespec="seconds")
