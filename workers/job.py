"""A job: one claimed delivery on its way through the pipeline, and what a channel must offer to the pipeline."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable
from uuid import UUID

from db.delivery import Claim, Settlement, Status
from db.pool import Executor
from outbox.tracing import NOWHERE, Span
from workers.concurrency import Concurrency
from workers.entries import Entry
from workers.outcome import Outcome

PUT_OFF = frozenset({Status.RETRYING, Status.DEFERRED})


@dataclass(frozen=True, slots=True)
class Job:
    """What was read and what was claimed. `ends` is when the lease runs out, on the monotonic clock;
    `span` is of what happens until it is settled."""

    entry: Entry
    claim: Claim
    token: UUID
    ends: float
    span: Span = NOWHERE

    def lasts(self, seconds: float) -> bool:
        """Whether the lease holds for so long yet. A process that was frozen finds out here, before it sends."""
        return self.ends - time.monotonic() >= seconds

    def age(self) -> float:
        """Seconds since it was to be sent first. 0 where nobody has put it off yet, or not since a person sent it
        again: it is not the far side's fault then that it is old (a dead letter, a digest, an escalation)."""
        if self.claim.prior_status not in PUT_OFF:
            return 0.0
        return max(0.0, (datetime.now(UTC) - self.entry.envelope.wanted_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Hint:
    """Something to publish once the transaction is committed."""

    channel: str
    message: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A claimed delivery and what is to be written about it."""

    job: Job
    settlement: Settlement


@dataclass(frozen=True, slots=True)
class Written:
    """What a settle did, and what is to be published after its commit. `fresh` as delivery.settle gives it."""

    fresh: dict[tuple[UUID, UUID], bool]
    hints: Sequence[Hint]


class Channel(Protocol):
    """One way to reach people. One instance for each lane, so that lanes share neither connections nor limits."""

    @property
    def name(self) -> str: ...

    @property
    def outward(self) -> bool:
        """Whether an attempt has effects outside Postgres. If not, an attempt without an end had none."""
        ...

    @property
    def capacity(self) -> int:
        """How many entries a lane holds at once."""
        ...

    @property
    def budget(self) -> float:
        """Seconds that an attempt may take; it starts only where the lease lasts that long."""
        ...

    async def prepare(self, executor: Executor, claims: Sequence[Claim]) -> None:
        """Fetch what these claims need and this worker does not have yet: config, templates."""
        ...

    async def attempt(self, job: Job) -> Outcome:
        """Deliver once."""
        ...

    async def again(self, executor: Executor, user_ids: Sequence[str]) -> Sequence[Hint]:
        """Hints for deliveries that were settled earlier, perhaps by a worker that died before it published."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Recording(Channel, Protocol):
    """A channel that knows more of an attempt than its outcome."""

    async def record(self, executor: Executor, settled: Sequence[Settled]) -> None:
        """What belongs into the transaction that settles these, whatever became of them. It may be called again after
        one that failed."""
        ...


@runtime_checkable
class Paced(Channel, Protocol):
    """A channel that counts how many messages its provider serves at once."""

    @property
    def pace(self) -> Concurrency | None:
        """Of the provider that would be asked now; None where nobody counts."""
        ...


@runtime_checkable
class Inward(Channel, Protocol):
    """A channel that delivers inside Postgres: what its attempts call delivered it writes and settles at once."""

    async def settle_delivered(self, executor: Executor, delivered: Sequence[Settled]) -> Written:
        """In one autocommitted statement, as repeatable as delivery.settle. Raises what that raises."""
        ...
