"""The runner: one lane of one channel. Read → decode → claim → attempt → settle, entries only as there is room.

An entry is read, claimed and attempted as often as it takes; what makes that safe is the claim, which gives a
delivery to one worker at a time, and the settle, which only the holder of the lease can make.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from redis.exceptions import RedisError

from db import delivery
from db.delivery import Claimant, Settlement
from db.pool import OUTAGES as DATABASE_OUTAGES
from db.pool import Executor, Pool
from outbox.log import get
from outbox.service import Stop, describe, run_loop
from workers import metrics
from workers.admission import Admission, Admitted
from workers.common import Brake
from workers.decide import Fate, Rules, fate, in_time, settlement
from workers.entries import Entry, RawEntry, decode, once_each
from workers.job import Channel, Job, Settled
from workers.outcome import Deferred, LeaseShort, Outcome, Throttled, Transient
from workers.reader import Reader
from workers.recipients import Recipients
from workers.settler import Dropped, Returned, Settler
from workers.shutdown import DRAIN, LEAVE, SETTLE

log = get("worker")

OUTAGES = (*DATABASE_OUTAGES, RedisError)
FULL_PAUSE_SECONDS = 5.0
# How long a throttled channel pauses where the far side names no time.
THROTTLE_SECONDS = 1.0
SILENT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Lane:
    """What a runner works with."""

    lane: str
    channel: Channel
    rules: Rules
    pool: Pool
    reader: Reader
    brake: Brake = field(default_factory=Brake)
    recipients: Recipients = field(default_factory=lambda: Recipients(None, 0))


class Runner:
    def __init__(self, lane: Lane, settler: Settler, grace: float) -> None:
        self.lane, self.settler, self.grace = lane, settler, grace
        self.channel, self.reader = lane.channel, lane.reader
        self.admission = Admission(lane.channel.name, lane.rules)
        settler.release = self.release
        self._held: set[bytes] = set()  # entries read and neither acknowledged nor left
        self._unclaimed: list[Entry] = []
        self._token: UUID | None = None  # of a claim whose reply never came
        self._unasked: Mapping[str, str] = {}  # of the last claim: users, and why they could not be asked for
        self._attempts: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._pause = Brake()  # this lane's own
        self._seen = time.monotonic()
        self._gauge = metrics.IN_FLIGHT.labels(self.channel.name, lane.lane)

    async def run(self, stop: Stop) -> None:
        """Until asked to stop; then finish what is held, within the grace time, and leave the rest pending."""
        settling = asyncio.create_task(self.settler.run())
        reading = asyncio.create_task(
            run_loop(f"read {self.reader.source.stream}", self.step, self._wake, stop)
        )
        try:
            await stop.asked.wait()
            await self.drain(reading)
        finally:
            for task in (reading, *self._attempts):
                task.cancel()
            await asyncio.gather(reading, *self._attempts, return_exceptions=True)
            self.forgo()
            await self.finish(settling)
            await self.leave()

    async def step(self) -> float:
        if (pause := max(self.lane.brake.left(), self._pause.left())) > 0:
            self._seen = time.monotonic()
            return pause
        if not self._unclaimed:
            room = self.channel.capacity - len(self._held)
            if room <= 0:
                self._seen = time.monotonic()
                return FULL_PAUSE_SECONDS
            self._unclaimed = self.accept(await self.reader.read(room))
        if self._unclaimed:
            await self.start()
        self._seen = time.monotonic()
        return 0

    def accept(self, raws: Iterable[RawEntry]) -> list[Entry]:
        """Decode what is not in hand already."""
        fresh = []
        for raw in raws:
            if raw.id in self._held:
                continue
            self._held.add(raw.id)
            match decode(raw) if raw.fields else Dropped(raw.id):
                case Entry() as entry:
                    fresh.append(entry)
                case finished:
                    self.settler.add(finished)
        self._gauge.set(len(self._held))
        return fresh

    async def start(self) -> None:
        """Claim, and begin what is ours. Until the claim's answer is here its entries and its token are kept, so an
        outage of Postgres is over for them as soon as it is over."""
        batch, repeats = once_each(self._unclaimed)
        self._token = self._token or uuid4()
        source = self.reader.source
        who = Claimant(
            self.channel.name,
            source.consumer,
            self._token,
            source.lease_seconds,
            self.channel.outward,
        )
        ends = time.monotonic() + source.lease_seconds
        async with self.lane.pool.acquire() as connection:
            self._unasked = await self.ask_for_recipients(connection, batch)
            claims = await delivery.claim(
                connection,
                who,
                [entry.notification_id for entry in batch],
                [entry.attempt for entry in batch],
            )
            ours = [claim for claim in claims if claim.attempts is not None]
            if ours:
                await self.admission.refresh(connection, ours)
                await self.channel.prepare(connection, ours)
            by_id = {claim.notification_id: claim for claim in claims}
            jobs = [Job(entry, by_id[entry.notification_id], who.token, ends) for entry in batch]
            admitted = await self.admit(connection, [job for job in jobs if job.claim.attempts is not None])
            self._unclaimed, self._token = repeats, None
            # Begun before the connection is given back, for that is a round trip.
            await self.dispatch(jobs, admitted)

    async def ask_for_recipients(self, executor: Executor, batch: Sequence[Entry]) -> Mapping[str, str]:
        """Before the claim, which takes contact, language and time zone from what is known. Gives who could not be
        asked for, and why."""
        if not self.lane.rules.outward:
            return {}
        return await self.lane.recipients.refresh(executor, {entry.envelope.user_id for entry in batch})

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

    async def dispatch(self, jobs: Sequence[Job], admitted: Mapping[UUID, Admitted]) -> None:
        answers = [fate(job.claim, job.entry.attempt) for job in jobs]
        for answer, number in Counter(answers).items():
            metrics.CLAIMS.labels(self.channel.name, answer.name.lower()).inc(number)
        for job, answer in zip(jobs, answers, strict=True):
            entry = job.entry
            match answer:
                case Fate.OURS:
                    await self.begin(*admitted[entry.notification_id])
                case Fate.REPEAT:
                    self.settler.add(Dropped(entry.id, entry.envelope.user_id))
                case Fate.DROP:
                    self.settler.add(Dropped(entry.id))
                case Fate.HELD:
                    self.release([entry.id])

    async def begin(self, job: Job, settled: Settlement | None) -> None:
        """Outward attempts run side by side. One that stays inside Postgres waits for nothing, so needs no task."""
        if job.claim.taken_over:
            metrics.TAKEN_OVER.labels(self.channel.name).inc()
            log.info(
                "worker.taken_over", notification_id=str(job.entry.notification_id), channel=self.channel.name
            )
        if settled:
            self.settler.add(Settled(job, settled))
            return
        self.settler.underway += 1
        if not self.channel.outward:
            await self.attempt(job)
            return
        task = asyncio.create_task(self.attempt(job))
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    async def attempt(self, job: Job) -> None:
        """One attempt. It never raises: whatever happens is an outcome."""
        try:
            outcome = await self.deliver(job)
        finally:
            self.settler.underway -= 1
        if isinstance(outcome, Throttled):
            self.lane.brake.pull(outcome.retry_after or THROTTLE_SECONDS)
        elif isinstance(outcome, Deferred) and outcome.lane:
            self._pause.pull(outcome.retry_after or THROTTLE_SECONDS)
        rules = self.admission.rules
        if settled := settlement(job, outcome, rules, random.random()):
            self.settler.add(Settled(job, in_time(job, settled, rules, datetime.now(UTC))))
        else:
            log.warning("worker.lease_short", notification_id=str(job.entry.notification_id))
            self.settler.add(Returned(job.entry, job.token))

    async def deliver(self, job: Job) -> Outcome:
        if not job.lasts(self.channel.budget):
            return LeaseShort()
        try:
            return await self.channel.attempt(job)
        except Exception as error:
            log.error(
                "worker.attempt_failed", channel=self.channel.name, error=describe(error), exc_info=True
            )
            return Transient("internal", f"the worker failed: {type(error).__name__}")

    def release(self, ids: Iterable[bytes]) -> None:
        """These are held no longer: there is room for others."""
        self._held.difference_update(ids)
        self._gauge.set(len(self._held))
        if not self._held:
            self._empty.set()
        self._wake.set()

    def forgo(self) -> None:
        """What was read and not begun is left. A claim whose reply was lost may have been made: it is given back."""
        batch, left = once_each(self._unclaimed)
        token, self._unclaimed, self._token = self._token, [], None
        if token is None:
            left += batch
        else:
            for entry in batch:
                self.settler.add(Returned(entry, token))
        self.release([entry.id for entry in left])

    async def drain(self, reading: asyncio.Task[None]) -> None:
        """Wait for the last step, and then for what has begun."""
        try:
            async with asyncio.timeout(self.grace * DRAIN):
                await reading
                self.forgo()
                while self._held:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            log.warning("worker.orphans", stream=self.reader.source.stream, entries=len(self._held))

    async def finish(self, settling: asyncio.Task[None]) -> None:
        """Settle what has an outcome."""
        self.settler.done.ask()
        try:
            async with asyncio.timeout(self.grace * SETTLE):
                await settling
        except OUTAGES as error:
            log.warning("worker.not_settled", stream=self.reader.source.stream, error=describe(error))

    async def leave(self) -> None:
        try:
            async with asyncio.timeout(self.grace * LEAVE):
                left = await self.reader.leave()
        except OUTAGES as error:
            log.warning("worker.not_left", stream=self.reader.source.stream, error=describe(error))
        else:
            log.info("worker.stopped", stream=self.reader.source.stream, left=left)

    def trouble(self) -> str | None:
        """For /readyz: silence means that Postgres or Redis cannot be reached."""
        silent = time.monotonic() - self._seen
        return f"no entry could be read or claimed for {silent:.0f} s" if silent > SILENT_SECONDS else None
