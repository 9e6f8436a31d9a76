"""The runner of one stream. Read → decode → claim → attempt → settle, entries only as there is room.

An entry is read, claimed and attempted as often as it takes; what makes that safe is the claim, which gives a
delivery to one worker at a time, and the settle, which only the holder of the lease can make.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from db.delivery import Settlement
from outbox.log import get
from outbox.service import Stop, asked_to_end, describe, run_loop
from workers import metrics, traced
from workers.admission import Admitted
from workers.claiming import OUTAGES, Claiming, Lane, broken, fault
from workers.common import Brake
from workers.decide import Fate, fate, in_time, settlement
from workers.entries import Entry, RawEntry, decode
from workers.job import Job, Paced, Settled
from workers.outcome import Deferred, LeaseShort, Outcome, Throttled, Transient
from workers.settler import Dropped, Returned, Settler
from workers.shutdown import DRAIN, LEAVE, SETTLE
from workers.unclaimed import Unclaimed

log = get("worker")

FULL_PAUSE_SECONDS = 5.0
# How long a throttled channel pauses where the far side names no time.
THROTTLE_SECONDS = 1.0
SILENT_SECONDS = 15.0


class Runner:
    def __init__(self, lane: Lane, settler: Settler, grace: float) -> None:
        self.lane, self.settler, self.grace = lane, settler, grace
        self.channel, self.reader = lane.channel, lane.reader
        self.claiming = Claiming(lane)
        settler.release = self.release
        self._held: set[bytes] = set()  # entries read and neither acknowledged nor left
        self._attempted: set[bytes] = set()  # of these
        self._unclaimed = Unclaimed()
        self._attempts: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._pause = Brake()  # this lane's own
        self._seen = time.monotonic()
        self._gauge = metrics.IN_FLIGHT.labels(self.channel.name, lane.lane)
        self._limit = metrics.LIMIT.labels(self.channel.name, lane.lane)

    async def run(self, stop: Stop) -> None:
        """Until asked to stop; then finish what is held, within the grace time, and leave the rest pending."""
        self.lane.room.enter(self._wake)
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
            self.lane.room.leave(self._wake, len(self._held), len(self._attempted))

    async def step(self) -> float:
        if (pause := max(self.lane.brake.left(), self._pause.left())) > 0:
            self._seen = time.monotonic()
            return pause
        if not self._unclaimed:
            if not (room := self.room()):
                self._seen = time.monotonic()
                return FULL_PAUSE_SECONDS
            self._unclaimed.add(self.accept(await self.reader.read(room)))
        if self._unclaimed:
            await self.start()
        self._seen = time.monotonic()
        return 0

    def room(self) -> int:
        """For how many entries there is room: in this lane, and at its provider, as far as somebody counts there."""
        capacity = self.channel.capacity
        pace = self.channel.pace if isinstance(self.channel, Paced) else None
        self._limit.set(limit := pace.limit if pace else capacity)
        room = self.lane.room.share(capacity, limit)
        if pace and not room:
            pace.wanted = True
        return room

    def accept(self, raws: Iterable[RawEntry]) -> list[Entry]:
        """Decode what is not in hand already."""
        fresh = []
        for raw in raws:
            if raw.id in self._held:
                continue
            self._held.add(raw.id)
            self.lane.room.hold(1)
            match decode(raw) if raw.fields else Dropped(raw.id):
                case Entry() as entry:
                    fresh.append(entry)
                case finished:
                    self.settler.add(finished)
        self._gauge.set(self.lane.room.held)
        return fresh

    async def start(self) -> None:
        """Claim, and begin what is ours. Until the claim's answer is here its entries and its token are kept, so an
        outage of Postgres is over for them as soon as it is over. What fails otherwise is tried in halves: an entry
        that nobody can begin must not hold up those beside it."""
        batch, token = self._unclaimed.take()
        try:
            await self.claim(batch, token)
        except OUTAGES:
            raise
        except Exception as error:
            if alone := self._unclaimed.failed(batch):
                self.leave_pending(alone, error)
                return
            raise

    async def claim(self, batch: Sequence[Entry], token: UUID) -> None:
        await self.claiming.ask_for_recipients(batch)
        async with self.lane.pool.acquire() as connection:
            jobs = await self.claiming.jobs(connection, batch, token)
            admitted = await self.claiming.ready(connection, jobs)
            self._unclaimed.begun(batch)
            # Begun before the connection is given back, for that is a round trip.
            await self.dispatch(jobs, admitted)

    def leave_pending(self, entry: Entry, error: Exception) -> None:
        """Not even its claim can be made. It comes again after a lease, and is told each time."""
        log.error(
            "worker.entry_refused",
            channel=self.channel.name,
            notification_id=str(entry.notification_id),
            entry_id=entry.id.decode(),
            error=describe(error),
            exc_info=True,
        )
        self.release([entry.id])

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
            with job.span.within():
                log.info(
                    "worker.taken_over",
                    notification_id=str(job.entry.notification_id),
                    channel=self.channel.name,
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
        with job.span.within():
            try:
                outcome = await self.deliver(job)
            finally:
                self.settler.underway -= 1
            self._attempted.add(job.entry.id)
            self.lane.room.attempt_ended()
            self.slow_down(outcome)
            self.settler.add(self.judged(job, outcome))

    def slow_down(self, outcome: Outcome) -> None:
        if isinstance(outcome, Throttled):
            self.lane.brake.pull(outcome.retry_after or THROTTLE_SECONDS)
        elif isinstance(outcome, Deferred) and outcome.lane:
            self._pause.pull(outcome.retry_after or THROTTLE_SECONDS)

    def judged(self, job: Job, outcome: Outcome) -> Settled | Returned:
        rules = self.claiming.rules
        try:
            if settled := settlement(job, outcome, rules, random.random()):
                return Settled(job, in_time(job, settled, rules, datetime.now(UTC)))
        except Exception as error:
            return Settled(job, broken(job, error))
        log.warning("worker.lease_short", notification_id=str(job.entry.notification_id))
        traced.abandon(job.span, "lease_short")
        return Returned(job.entry, job.token)

    async def deliver(self, job: Job) -> Outcome:
        if not job.lasts(self.channel.budget):
            return LeaseShort()
        try:
            return await self.channel.attempt(job)
        except (Exception, asyncio.CancelledError) as error:
            if asked_to_end(error):
                raise
            log.error(
                "worker.attempt_failed", channel=self.channel.name, error=describe(error), exc_info=True
            )
            return Transient("internal", fault(error))

    def release(self, ids: Iterable[bytes]) -> None:
        """These are held no longer: there is room for others."""
        gone = self._held.intersection(ids)
        self._held -= gone
        attempted = self._attempted & gone
        self._attempted -= attempted
        self.lane.room.release(len(gone), len(attempted))
        self._gauge.set(self.lane.room.held)
        if not self._held:
            self._empty.set()
        self._wake.set()

    def forgo(self) -> None:
        """What was read and not begun is left. A claim whose reply was lost may have been made: it is given back."""
        left, claimed, token = self._unclaimed.forgo()
        if token is not None:
            for entry in claimed:
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
