"""From a claim to the rendered parts of a message: the template that it names, kept, and what a template may see."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from db import templates
from db.delivery import Claim
from db.pool import Executor
from db.templates import Layout, Template
from outbox import tracing
from outbox.rendering import layouts
from outbox.rendering.renderers import Rendered, Renderers, Starved, Unrenderable
from workers.job import Job
from workers.outcome import Outcome, Permanent, Transient, clean

TEMPLATES_KEPT = 1_000


class Rendering:
    """Of one lane of one channel: its copies of templates, and its renderers."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self._templates: dict[str, Template] = {}
        self._layouts: dict[str, list[Layout]] = {}
        self._renderers = Renderers()

    async def fetch(self, executor: Executor, claims: Sequence[Claim]) -> None:
        """The templates of these claims that are not here yet."""
        wanted = {claim.template for claim in claims if claim.template} - self._templates.keys()
        if wanted:
            if len(self._templates) > TEMPLATES_KEPT:
                self._templates.clear()
                wanted = {claim.template for claim in claims if claim.template}
            for template in await templates.sources(executor, wanted):
                self._templates[template.key] = template
        # Layouts are asked for with each batch that needs them: a claim does not tell when one was changed.
        used = [self._templates[claim.template] for claim in claims if claim.template in self._templates]
        self._layouts |= await layouts.fetch(executor, self.channel, used)

    async def render(self, job: Job, more: Mapping[str, Any] = MappingProxyType({})) -> Rendered | Outcome:
        """`more`: what the channel adds to the variables."""
        if job.claim.template is None:
            return Permanent("template", self._missing(job))
        template = self._templates.get(job.claim.template)
        if template is None:
            return Transient("template", "the template was deleted at this very moment")
        readable = layouts.for_reader(self._layouts, job.claim.locale)
        with tracing.span("render"):
            rendered = await self._renderers.render(template, variables(job) | dict(more), readable)
        return rendered if isinstance(rendered, Rendered) else unrendered(rendered)

    def _missing(self, job: Job) -> str:
        name = job.entry.envelope.template_name or job.entry.envelope.event_type
        return (
            f"there is no template {name!r} for channel {self.channel} in the recipient's language or for all"
        )

    async def close(self) -> None:
        await self._renderers.close()


def unrendered(why: Unrenderable | Starved) -> Outcome:
    if isinstance(why, Starved):
        return Transient("starved", "there was no time to render the template")
    return Permanent("template", clean(why.reason))


def variables(job: Job) -> dict[str, Any]:
    """What a template sees: plain data only."""
    envelope = job.entry.envelope
    return {
        "notification_id": str(envelope.notification_id),
        "event_type": envelope.event_type,
        "user_id": envelope.user_id,
        "actor_user_id": envelope.actor_user_id,
        "payload": envelope.payload,
        "items": envelope.payload["items"] if job.claim.is_digest else [],
        "more": envelope.payload["more"] if job.claim.is_digest else 0,
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
