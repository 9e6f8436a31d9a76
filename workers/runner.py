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
from uuid import UUID, uuid4

from redis.exceptions import RedisError

from db import delivery
from db.delivery import Claim, Claimant
from db.pool import OUTAGES as DATABASE_OUTAGES
from db.pool import Executor, Pool
from outbox.log import get
from outbox.service import Stop, describe, run_loop
from workers import metrics
from workers.decide import Fate, Rules, fate, settlement, verdict
from workers.entries import Entry, RawEntry, decode, once_each
from workers.job import Channel, Job
from workers.outcome import LeaseShort, Outcome, Throttled, Transient
from workers.reader import Reader
from workers.recipients import Recipients
from workers.settler import Dropped, Returned, Settled, Settler
from workers.shutdown import DRAIN, LEAVE, SETTLE

log = get("worker")

OUTAGES = (*DATABASE_OUTAGES, RedisError)
FULL_PAUSE_SECONDS = 5.0
# How long a throttled channel pauses where the far side names no time.
THROTTLE_SECONDS = 1.0
THROTTLE_CAP_SECONDS = 60.0
SILENT_SECONDS = 15.0


@dataclass(slots=True)
class Brake:
    """Shared by the lanes of a channel: a far side that is throttling gets no new attempts for a while."""

    until: float = 0.0

    def pull(self, seconds: float) -> None:
        self.until = max(self.until, time.monotonic() + min(seconds, THROTTLE_CAP_SECONDS))

    def left(self) -> float:
        return self.until - time.monotonic()


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
        settler.release = self.release
        self._held: set[bytes] = set()  # entries read and neither acknowledged nor left
        self._unclaimed: list[Entry] = []
        self._token: UUID | None = None  # of a claim whose reply never came
        self._unasked: Mapping[str, str] = {}  # of the last claim: users, and why they could not be asked for
        self._attempts: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
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
        if (pause := self.lane.brake.left()) > 0:
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
            self.lane.rules.outward,
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
                await self.channel.prepare(connection, ours)
            self._unclaimed, self._token = repeats, None
            # Begun before the connection is given back, for that is a round trip.
            await self.dispatch(batch, {claim.notification_id: claim for claim in claims}, who.token, ends)

    async def ask_for_recipients(self, executor: Executor, batch: Sequence[Entry]) -> Mapping[str, str]:
        """Before the claim, which takes contact, language and time zone from what is known. Gives who could not be
        asked for, and why."""
        if not self.lane.rules.outward:
            return {}
        return await self.lane.recipients.refresh(executor, {entry.envelope.user_id for entry in batch})

    async def dispatch(
        self, batch: Sequence[Entry], claims: dict[UUID, Claim], token: UUID, ends: float
    ) -> None:
        answers = [fate(claims[entry.notification_id], entry.attempt) for entry in batch]
        for answer, number in Counter(answers).items():
            metrics.CLAIMS.labels(self.channel.name, answer.name.lower()).inc(number)
        for entry, answer in zip(batch, answers, strict=True):
            match answer:
                case Fate.OURS:
                    await self.begin(Job(entry, claims[entry.notification_id], token, ends))
                case Fate.REPEAT:
                    self.settler.add(Dropped(entry.id, entry.envelope.user_id))
                case Fate.DROP:
                    self.settler.add(Dropped(entry.id))
                case Fate.HELD:
                    self.release([entry.id])

    async def begin(self, job: Job) -> None:
        """Outward attempts run side by side. One that stays inside Postgres waits for nothing, so needs no task."""
        if job.claim.taken_over:
            metrics.TAKEN_OVER.labels(self.channel.name).inc()
            log.info(
                "worker.taken_over", notification_id=str(job.entry.notification_id), channel=self.channel.name
            )
        needy = self.lane.rules.needs_contact and job.claim.contact is None
        if needy and (why := self._unasked.get(job.entry.envelope.user_id)):
            again = settlement(job, Transient("recipients", why), self.lane.rules, random.random())
            assert again
            self.settler.add(Settled(job, again))
            return
        if settled := verdict(job, self.channel.name, self.lane.rules):
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
        if settled := settlement(job, outcome, self.lane.rules, random.random()):
            self.settler.add(Settled(job, settled))
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
