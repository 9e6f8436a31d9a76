"""Between claim and attempt: which of the claimed may be sent now, and with what.

What concerns no job costs nothing but a look at it: Postgres is asked only for those under a cap, and for digests.
Each of its statements is safe to repeat, so a worker may die anywhere in between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from db import rules as rows
from db.delivery import Claim, Settlement, Status
from db.pool import Executor
from workers import digest, restraint
from workers.decide import Rules, unmade, unready, verdict
from workers.job import Job
from workers.policy import Policies, Policy


class Admitted(NamedTuple):
    """A job, and its settlement where it is not to be sent now."""

    job: Job
    settled: Settlement | None


class Admission:
    """Of one lane."""

    def __init__(self, channel: str, rules: Rules) -> None:
        self.channel, self._rules = channel, rules
        self._policies = Policies(channel, Policy(rules.backoff))

    @property
    def rules(self) -> Rules:
        """As the channel has them now."""
        return self._rules

    async def refresh(self, executor: Executor, claims: Sequence[Claim]) -> None:
        await self._policies.refresh(executor, claims)
        policy = self._policies.current
        self._rules = replace(
            self._rules,
            backoff=policy.backoff,
            deadline=policy.deadline,
            channel=policy.rules,
            trouble=policy.trouble,
        )

    async def admit(self, executor: Executor, jobs: Sequence[Job]) -> list[Admitted]:
        """In their order."""
        now = datetime.now(UTC)
        judged = [Admitted(job, self.judge(job, now)) for job in jobs]
        capped = [
            job for job, settled in judged if settled is None and restraint.may_be_held(job, self._rules)
        ]
        if capped:
            judged = await self.cap(executor, judged, capped)
        # Last, so that one which waits goes on collecting.
        if due := [job for job, settled in judged if settled is None and job.claim.is_digest]:
            judged = await self.fill(executor, judged, due)
        await self.close_over(executor, judged)
        return judged

    def judge(self, job: Job, now: datetime) -> Settlement | None:
        settled = verdict(job, self.channel, self._rules) or unready(job, self._rules, now)
        if settled is None and restraint.may_be_held(job, self._rules):
            return restraint.held(job, self._rules, now)
        return settled

    async def fill(
        self, executor: Executor, judged: Sequence[Admitted], due: Sequence[Job]
    ) -> list[Admitted]:
        """Digests that are to go out are closed, and get what they hold."""
        ids = [job.claim.notification_id for job in due]
        listed = await rows.close_digests(executor, ids, digest.ITEMS, digest.ITEMS_BYTES)
        for job in due:
            if held := listed.get(job.claim.notification_id):
                job.span.link(held.causes)
        said = {
            id_: digest.payload(listed[id_], job.entry.envelope.event_type)
            for id_, job in zip(ids, due, strict=True)
            if id_ in listed
        }
        await rows.fill_digests(executor, said.items())
        return [item if item.settled else filled(item, said) for item in judged]

    async def close_over(self, executor: Executor, judged: Sequence[Admitted]) -> None:
        """Digests that end here without being sent: nothing is to join them any more."""
        over = [
            job.claim.notification_id
            for job, settled in judged
            if job.claim.is_digest and settled is not None and settled.status in digest.UNTOLD
        ]
        if over:
            await rows.close(executor, over)

    async def cap(
        self, executor: Executor, judged: Sequence[Admitted], jobs: Sequence[Job]
    ) -> list[Admitted]:
        """Those under a cap get a place in its window, or wait for its end."""
        found = [(job, capped) for job in jobs if (capped := restraint.cap_of(job, self._rules))]
        if not found:
            return list(judged)
        full = await rows.take_slots(executor, self.channel, [restraint.slot(*each) for each in found])
        over = {
            job.claim.notification_id: restraint.over_cap(job, capped, until)
            for job, capped in found
            if (until := full[job.claim.notification_id])
        }
        return [Admitted(job, settled or over.get(job.claim.notification_id)) for job, settled in judged]


def filled(item: Admitted, said: Mapping[UUID, dict[str, Any]]) -> Admitted:
    if not item.job.claim.is_digest:
        return item
    found = said.get(item.job.claim.notification_id)
    if found is None:
        return Admitted(
            item.job, unmade(item.job, Status.CANCELED, "all that it held was canceled or too late")
        )
    return Admitted(digest.carrying(item.job, found), None)
