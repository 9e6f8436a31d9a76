"""The SMS channel: template → text, counted and limited → provider. What may have arrived is asked about first."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from db import sms
from db.delivery import Claim, Status
from db.pool import Executor
from db.sms import Doubt
from db.suppressions import Suppression, suppress
from outbox.envelope import Priority
from outbox.errors import SettingsError
from outbox.log import get
from outbox.rendering.renderers import Rendered
from outbox.settings import Settings
from outbox.twilio import account, callback_url
from workers.common import Common
from workers.concurrency import Concurrency
from workers.configured import Configured
from workers.job import Hint, Job, Settled
from workers.outcome import Delivered, LeaseShort, Outcome, Permanent, Transient
from workers.providers import Maker, Provider, Providers, chain
from workers.recipient_rate import RecipientRate, recipient_rate
from workers.rendering import Rendering
from workers.segments import segments
from workers.twilio import Text, Twilio

log = get("worker")

BUDGET_SECONDS = 20.0
# Of that, for asking about an earlier attempt before another one is made.
ASKING = 0.25
MAX_SEGMENTS = 6
# https://www.twilio.com/docs/messaging/api/message-resource#body-parameter
BODY_CHARACTERS = 1_600
VALID_SECONDS = 36_000  # the longest that Twilio takes


def twilio(name: str, part: Mapping[str, Any], seconds: float) -> Provider[Text]:
    return Twilio(account(name, part), seconds)


MAKERS: Mapping[str, Maker[Text]] = {"twilio": twilio}


@dataclass(frozen=True, slots=True)
class Carrier:
    """What a config makes."""

    providers: Providers[Text]
    max_segments: int
    recipient_rate: RecipientRate

    async def close(self) -> None:
        await self.providers.close()


class Sms:
    """For one lane: its connections, its renderers, its copies of config and templates."""

    outward = True

    def __init__(self, settings: Settings, common: Common) -> None:
        self.name = common.channel
        self.capacity = settings.worker_concurrency
        self._first = Concurrency(self.capacity)  # until the config is known
        # An attempt that has begun must end before another worker may take the delivery over.
        self.budget = min(BUDGET_SECONDS, settings.worker_lease / 2)
        self._api, self._common = settings.public_api_url, common
        self._config = Configured(self.name, self.from_config, Carrier.close)
        self._rendering = Rendering(self.name)
        self._doubts: dict[UUID, Doubt] = {}

    @property
    def pace(self) -> Concurrency | None:
        carrier = self._config.get()
        return self._first if isinstance(carrier, Transient) else carrier.providers.pace()

    async def prepare(self, executor: Executor, claims: Sequence[Claim]) -> None:
        await self._config.refresh(executor, claims)
        await self._rendering.fetch(executor, claims)
        again = [claim.notification_id for claim in claims if may_have_arrived(claim)]
        if again:
            found = await sms.doubts(executor, self.name, again)
            self._doubts |= {doubt.notification_id: doubt for doubt in found}

    def from_config(self, config: Mapping[str, Any]) -> Carrier:
        """Raises SettingsError."""
        limit = config.get("max_segments", MAX_SEGMENTS)
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise SettingsError(f"channel {self.name}: max_segments is a whole number from 1 on")
        allowed = recipient_rate(config, self._common)
        made = chain(config, MAKERS, self._common, self.budget * (1 - ASKING))
        return Carrier(made.paced(self.capacity), limit, allowed)

    async def attempt(self, job: Job) -> Outcome:
        doubt = self._doubts.pop(job.claim.notification_id, None)
        async with self._config.use() as carrier:
            return carrier if isinstance(carrier, Transient) else await self._deliver(job, carrier, doubt)

    async def _deliver(self, job: Job, carrier: Carrier, doubt: Doubt | None) -> Outcome:
        rendered = await self._rendering.render(job)
        if not isinstance(rendered, Rendered):
            return rendered
        text = compose(job, rendered.text, carrier.max_segments, self._callback(job))
        if not isinstance(text, Text):
            return text
        if not job.lasts(self.budget):
            return LeaseShort()
        known = await self._ask(carrier.providers, text, doubt) if doubt else None
        if known:
            return known
        return await carrier.recipient_rate.send(
            job, text.to, lambda: self._send(job, carrier.providers, text)
        )

    def _callback(self, job: Job) -> str:
        return callback_url(self._api, self.name, job.claim.notification_id)

    async def _send(self, job: Job, providers: Providers[Text], text: Text) -> Outcome:
        urgent = job.entry.envelope.priority is Priority.URGENT
        return await providers.send(text, urgent=urgent)

    async def _ask(self, providers: Providers[Text], text: Text, doubt: Doubt) -> Outcome | None:
        """None: it did not arrive, so it is sent."""
        if doubt.message_id:
            return Delivered(doubt.message_id, segments=text.segments, found=True)
        try:
            async with asyncio.timeout(self.budget * ASKING):
                found = await providers.ask(text, doubt.since)
        except TimeoutError:
            return Transient("ask", "no provider told in time whether it has the message")
        if isinstance(found, Transient):
            return found
        for provider, ids in found.items():
            async with self._common.pool.acquire() as connection:
                others = await sms.others(connection, self.name, text.notification_id, ids)
            for message_id in ids:
                if message_id not in others:
                    return Delivered(message_id, provider, segments=text.segments, found=True)
        return None

    async def record(self, executor: Executor, settled: Sequence[Settled]) -> None:
        """Which message is whose, and numbers that must not be written to, with the provider's own reason: it decides
        whether START undoes it."""
        delivered = [each for each in settled if each.settlement.status is Status.DELIVERED]
        if delivered:
            await sms.remember(executor, self.name, [each.settlement.notification_id for each in delivered])
        gone = [each for each in settled if each.settlement.error_class == "recipient_gone"]
        numbers = [(each.job.claim.contact or "", each.settlement.reason or "") for each in gone]
        await suppress(executor, [Suppression(self.name, *number) for number in numbers])

    async def again(self, executor: Executor, user_ids: Sequence[str]) -> Sequence[Hint]:
        return ()

    async def close(self) -> None:
        await self._rendering.close()
        await self._config.close()


def may_have_arrived(claim: Claim) -> bool:
    """Worth a look: only what was attempted before may have."""
    return claim.on_unknown == "ask" and (claim.attempts or 0) > 1


def compose(job: Job, rendered: str, max_segments: int, callback: str) -> Text | Permanent:
    body = rendered.strip()
    if not body:
        return Permanent("template", "the text is empty")
    if not encodable(body):
        return Permanent("template", "the text holds a lone surrogate")
    counted = segments(body)
    if counted.count > max_segments or len(body) > BODY_CHARACTERS:
        return Permanent("too_long", too_long(body, counted.count, max_segments))
    expires = job.entry.envelope.expires_at
    valid = valid_seconds(expires, datetime.now(UTC)) if expires else None
    return Text(job.claim.notification_id, job.claim.contact or "", body, counted.count, callback, valid)


def too_long(body: str, count: int, limit: int) -> str:
    kind = segments(body).encoding.name
    return (
        f"{len(body)} characters are {count} segments ({kind}); "
        f"allowed are {limit} segments and {BODY_CHARACTERS} characters"
    )


def encodable(body: str) -> bool:
    try:
        body.encode()
    except UnicodeEncodeError:
        return False
    return True


def valid_seconds(expires: datetime, now: datetime) -> int:
    """How long the provider may keep it: until it expires."""
    return max(1, min(VALID_SECONDS, int((expires - now).total_seconds())))
