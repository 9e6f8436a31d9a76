"""The push channel: template → one push → each of the recipient's devices, by the provider of its platform.

A delivery is one notification to one user, however many devices that is. What became of each is written in the
transaction that settles, so a retry goes only to those that do not have it. A worker that dies in between has written
nothing: the next one sends to all again, under the same apns-id, collapse id and tag, by which a device shows it once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from db import push as devices
from db.delivery import Claim
from db.pool import Executor
from db.push import Audience, Device
from outbox.envelope import Priority
from outbox.log import get
from outbox.rendering.renderers import Rendered
from outbox.service import describe
from workers.common import Common
from workers.configured import Configured
from workers.job import Hint, Job, Settled
from workers.outcome import LeaseShort, Outcome, RecipientGone, Transient
from workers.providers import Providers
from workers.push_config import Platforms, platforms
from workers.push_message import Parcel, Push, compose
from workers.push_result import OnDevice, row, whole
from workers.recent import Recent
from workers.recipient_rate import RecipientRate, recipient_rate
from workers.rendering import Rendering

log = get("worker")

BUDGET_SECONDS = 30.0
# Requests under way at once, of one lane: as many as one HTTP/2 connection commonly carries.
REQUESTS = 100


@dataclass(frozen=True, slots=True)
class Report:
    """What an attempt came to on each device, until it is written."""

    attempt: int
    results: Sequence[OnDevice]


@dataclass(frozen=True, slots=True)
class Carrier:
    """What a config makes."""

    platforms: Platforms
    common: Common
    recipient_rate: RecipientRate

    async def send(self, parcel: Parcel) -> Outcome:
        """By the one provider that serves the device, as its circuit and its rate allow."""
        provider = self.platforms.of(parcel.device.platform)
        if isinstance(provider, Transient):
            return provider
        left = parcel.ends - asyncio.get_running_loop().time()
        alone = Providers((provider,), self.common, left, self.platforms.rates)
        return await alone.send(parcel, urgent=parcel.push.priority is Priority.URGENT)

    async def close(self) -> None:
        self.common.forget()
        await self.platforms.close()


class PushChannel:
    """For one lane: its connections, its renderers, its copies of config and templates."""

    name = "push"
    outward = True

    def __init__(self, concurrency: int, lease_seconds: float, common: Common) -> None:
        self.capacity, self._common = concurrency, common
        # An attempt that has begun must end before another worker may take the delivery over.
        self.budget = min(BUDGET_SECONDS, lease_seconds / 2)
        self._config = Configured(self.name, self.from_config, Carrier.close)
        self._rendering = Rendering(self.name)
        self._room = asyncio.Semaphore(REQUESTS)
        self._audiences: Recent[UUID, Audience] = Recent(2 * concurrency)
        # Settled in the order in which attempts end, of which there are never more than a lane holds.
        self._reports: Recent[tuple[UUID, UUID], Report] = Recent(2 * concurrency)

    def from_config(self, config: Mapping[str, Any]) -> Carrier:
        """Raises SettingsError."""
        return Carrier(platforms(config), self._common, recipient_rate(config, self._common))

    async def prepare(self, executor: Executor, claims: Sequence[Claim]) -> None:
        await self._config.refresh(executor, claims)
        await self._rendering.fetch(executor, claims)
        ids = [claim.notification_id for claim in claims]
        self._audiences.update(await devices.audiences(executor, self.name, ids))

    async def attempt(self, job: Job) -> Outcome:
        audience = self._audiences.take(job.entry.notification_id)
        if audience is None:
            return LeaseShort()  # it waited too long behind others: claimed again, it has one
        if not audience.devices:
            return whole([], reached=audience.reached, hold=False)
        async with self._config.use() as ready:
            return ready if isinstance(ready, Transient) else await self._deliver(job, audience, ready)

    async def _deliver(self, job: Job, audience: Audience, ready: Carrier) -> Outcome:
        push = await self._compose(job, audience, ready)
        if not isinstance(push, Push):
            return push
        if not job.lasts(self.budget):
            return LeaseShort()
        user = job.entry.envelope.user_id
        return await ready.recipient_rate.send(job, user, lambda: self._report(job, push, audience, ready))

    async def _report(self, job: Job, push: Push, audience: Audience, ready: Carrier) -> Outcome:
        """Sent to each device, and what became of that kept until it is settled."""
        results = await self._to_all(push, audience.devices, ready)
        self._reports.put((job.entry.notification_id, job.token), Report(job.claim.attempts or 1, results))
        return whole(results, reached=audience.reached, hold=job.claim.on_unknown == "hold")

    async def _compose(self, job: Job, audience: Audience, ready: Carrier) -> Push | Outcome:
        rendered = await self._rendering.render(job)
        if not isinstance(rendered, Rendered):
            return rendered
        return compose(
            job.entry.envelope, rendered, audience.unread, ready.platforms.collapse, datetime.now(UTC)
        )

    async def _to_all(self, push: Push, to: Sequence[Device], ready: Carrier) -> list[OnDevice]:
        ends = asyncio.get_running_loop().time() + self.budget
        return await asyncio.gather(*(self._to_one(Parcel(push, device, ends), ready) for device in to))

    async def _to_one(self, parcel: Parcel, ready: Carrier) -> OnDevice:
        """It never raises: a bug with one device must not lose what became of the others."""
        device = parcel.device
        try:
            outcome = await self._send(parcel, ready)
        except Exception as error:
            log.error("worker.push_failed", provider=device.platform, error=describe(error), exc_info=True)
            outcome = Transient("internal", f"the worker failed: {type(error).__name__}")
        return OnDevice(device, device.platform.value, outcome)

    async def _send(self, parcel: Parcel, ready: Carrier) -> Outcome:
        try:
            async with asyncio.timeout_at(parcel.ends):
                await self._room.acquire()
        except TimeoutError:
            return Transient("timeout", "too many devices before this one")
        try:
            return await ready.send(parcel)
        finally:
            self._room.release()

    async def record(self, executor: Executor, settled: Sequence[Settled]) -> None:
        reports = [(each.settlement.key, self._reports.get(each.settlement.key)) for each in settled]
        found = [(notification_id, report) for (notification_id, _), report in reports if report is not None]
        rows = [row(one, key, report.attempt) for key, report in found for one in report.results]
        if rows:
            await devices.record(executor, self.name, rows)
        dead = [one.device for _, report in found for one in report.results if gone(one)]
        if dead:
            await devices.forget(executor, dead)
            log.info("worker.tokens_forgotten", channel=self.name, number=len(dead))

    async def again(self, executor: Executor, user_ids: Sequence[str]) -> Sequence[Hint]:
        return ()

    async def close(self) -> None:
        await self._rendering.close()
        await self._config.close()


def gone(one: OnDevice) -> bool:
    return isinstance(one.outcome, RecipientGone)
