"""From entries to jobs: claimed, with all that their attempts need, and what may not be sent now is settled already."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from redis.exceptions import RedisError

from db import delivery
from db.delivery import Claimant, Settlement
from db.pool import OUTAGES as DATABASE_OUTAGES
from db.pool import Executor, Pool
from outbox.log import get
from outbox.service import describe
from workers import traced
from workers.admission import Admission, Admitted
from workers.common import Brake
from workers.decide import Rules, retry, settlement
from workers.entries import Entry
from workers.job import Channel, Job
from workers.outcome import Transient
from workers.reader import Reader
from workers.recipients import Recipients
from workers.room import Room

log = get("worker")

OUTAGES = (*DATABASE_OUTAGES, RedisError)
AGAIN_SECONDS = 5.0  # after a fault of ours, whatever the channel's policy


@dataclass(frozen=True, slots=True)
class Lane:
    """What a runner works with. All but the reader it may share with those of the lane's other shards."""

    lane: str
    channel: Channel
    rules: Rules
    pool: Pool
    reader: Reader
    brake: Brake = field(default_factory=Brake)
    recipients: Recipients = field(default_factory=lambda: Recipients(None, 0))
    room: Room = field(default_factory=Room)


class Claiming:
    """Of one lane."""

    def __init__(self, lane: Lane) -> None:
        self.lane, self.channel = lane, lane.channel
        self.admission = Admission(lane.channel.name, lane.rules)
        self._unasked: Mapping[str, str] = {}  # of the last batch: users, and why they could not be asked for

    @property
    def rules(self) -> Rules:
        return self.admission.rules

    async def ask_for_recipients(self, batch: Sequence[Entry]) -> None:
        """Before the claim, which takes contact, language and time zone from what is known; and before a connection is
        taken for it, as a user service may be slow."""
        if self.lane.rules.outward:
            users = {entry.envelope.user_id for entry in batch}
            self._unasked = await self.lane.recipients.refresh(self.lane.pool, users)

    async def jobs(self, executor: Executor, batch: Sequence[Entry], token: UUID) -> list[Job]:
        """Of every entry, whatever its claim has come to."""
        source = self.lane.reader.source
        lease = source.lease_seconds
        who = Claimant(self.channel.name, source.consumer, token, lease, self.channel.outward)
        ends = time.monotonic() + lease
        began = traced.now()
        claims = await delivery.claim(
            executor,
            who,
            [entry.notification_id for entry in batch],
            [entry.attempt for entry in batch],
        )
        by_id = {claim.notification_id: claim for claim in claims}
        return [
            Job(entry, claim, token, ends, traced.processing(entry, claim, source.stream, began))
            for entry in batch
            for claim in [by_id[entry.notification_id]]
        ]

    async def ready(self, executor: Executor, jobs: Sequence[Job]) -> dict[UUID, Admitted]:
        """What is ours, with all that it needs. One that fails alone has made its attempt by that."""
        ours = [job for job in jobs if job.claim.attempts is not None]
        if not ours:
            return {}
        claims = [job.claim for job in ours]
        try:
            await self.admission.refresh(executor, claims)
            await self.channel.prepare(executor, claims)
            return await self.admit(executor, ours)
        except OUTAGES:
            raise
        except Exception as error:
            if len(jobs) > 1:
                raise
            return {jobs[0].claim.notification_id: Admitted(jobs[0], broken(jobs[0], error))}

    async def admit(self, executor: Executor, jobs: Sequence[Job]) -> dict[UUID, Admitted]:
        """Which of what is ours may be sent now."""
        asked = [job for job in jobs if not self.unasked(job)]
        admitted = {
            item.job.claim.notification_id: item for item in await self.admission.admit(executor, asked)
        }
        for job in jobs:
            if why := self.unasked(job):
                again = settlement(job, Transient("recipients", why), self.admission.rules, random.random())
                admitted[job.claim.notification_id] = Admitted(job, again)
        return admitted

    def unasked(self, job: Job) -> str | None:
        """Why nothing is known of a recipient that might be there."""
        needy = self.lane.rules.needs_contact and job.claim.contact is None
        return self._unasked.get(job.entry.envelope.user_id) if needy else None


def broken(job: Job, error: Exception) -> Settlement:
    """The attempt has ended by a fault of ours, wherever it was."""
    with job.span.within():
        log.error(
            "worker.attempt_failed",
            notification_id=str(job.claim.notification_id),
            error=describe(error),
            exc_info=True,
        )
    return retry(job, "internal", fault(error), AGAIN_SECONDS)


def fault(error: BaseException) -> str:
    """For the timeline: its kind alone, for its words may hold anything."""
    return f"the worker failed: {type(error).__name__}"
