"""The decisions: is an entry ours, may it be sent, and what becomes of it after the attempt. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import assert_never

from db.delivery import FINAL, Claim, Settlement, Status
from outbox.envelope import Priority
from outbox.restraints import UNRESTRAINED, ChannelRules, nearest
from workers.job import Job
from workers.outcome import (
    Deferred,
    Delivered,
    LeaseShort,
    Outcome,
    Permanent,
    RecipientGone,
    Throttled,
    Transient,
    Unknown,
    clean,
    sends,
)
from workers.retry import Backoff

# From here on a deferral is an attempt like any other, so that an outage without an end ends in the dead letters.
PATIENCE_SECONDS = 24 * 3600.0
LOST = "a worker stopped during the attempt, so nobody knows whether it arrived"


class Fate(Enum):
    """What to do with an entry after the claim."""

    OURS = auto()
    DROP = auto()  # nothing left to do: erased, settled, or an attempt that is over
    REPEAT = auto()  # delivered before: drop, but its hint may have been lost
    HELD = auto()  # another worker has it: it stays pending, and comes again if that worker dies


@dataclass(frozen=True, slots=True)
class Rules:
    """What the decisions depend on besides the facts."""

    backoff: Backoff
    outward: bool  # the channel reaches outside Postgres
    needs_contact: bool
    deadline: int | None = None  # seconds in which what failed is tried again
    channel: ChannelRules = UNRESTRAINED
    trouble: str | None = None  # why these cannot be read


def fate(claim: Claim, attempt: int) -> Fate:
    """`attempt` is the entry's: how many attempts were made before it was written."""
    if claim.attempts is not None:
        return Fate.OURS
    if not claim.known:
        return Fate.DROP
    match claim.prior_status:
        case Status.DELIVERED:
            return Fate.REPEAT
        case Status.PENDING | Status.RETRYING | Status.DEFERRED if claim.prior_attempts != attempt:
            return Fate.DROP
        case status if status in FINAL:
            return Fate.DROP
    # Sending, or claimed by someone else in this very moment.
    return Fate.HELD


def verdict(job: Job, channel: str, rules: Rules) -> Settlement | None:
    """The settlement of what must not be sent, or None: go on and send."""
    claim = job.claim
    if claim.taken_over and rules.outward and claim.on_unknown == "hold":
        return unmade(job, Status.UNKNOWN, LOST, error_class="unknown", dead=True)
    if (claim.attempts or 0) > (claim.attempts_allowed or 0):
        return worn_out(job, rules)
    if claim.canceled:
        return unmade(job, Status.CANCELED, "canceled before it was sent")
    if claim.expired:
        return unmade(job, Status.EXPIRED, "expires_at was over before it was sent")
    return unwanted(job, channel, rules) or (unreachable(job, channel) if rules.needs_contact else None)


def unwanted(job: Job, channel: str, rules: Rules) -> Settlement | None:
    if not job.claim.enabled:
        return unmade(job, Status.SUPPRESSED, f"channel {channel} is switched off")
    if not job.claim.wanted and not overrides(job, rules):
        return unmade(job, Status.SUPPRESSED, "switched off by the recipient")
    if job.claim.seen:
        return unmade(job, Status.SUPPRESSED, "read in-app before it was due here")
    return None


def overrides(job: Job, rules: Rules) -> bool:
    """Urgent ones that the channel says are sent whatever the recipient prefers."""
    envelope = job.entry.envelope
    return (
        envelope.priority is Priority.URGENT
        and nearest(rules.channel.urgent_overrides_preferences, envelope.event_type) is not None
    )


def unready(job: Job, rules: Rules, now: datetime) -> Settlement | None:
    """What the channel's own row keeps from being sent: rules that nobody can read, or a retry that comes too late."""
    if rules.trouble is not None:
        return deferred(job, Deferred("config", rules.trouble), rules, 0.5)
    if job.claim.prior_status == Status.RETRYING and past(job, rules, now):
        reason = f"not tried again after {rules.deadline} s, the channel's deadline"
        return unmade(job, Status.FAILED, reason, error_class="deadline", dead=True)
    return None


def in_time(job: Job, settled: Settlement, rules: Rules, now: datetime) -> Settlement:
    """A retry that would come after the channel's deadline is none: it ends as its last attempt did."""
    if settled.retry_in is None or not past(job, rules, now + timedelta(seconds=settled.retry_in)):
        return settled
    reason = f"{settled.reason}; not tried again after {rules.deadline} s, the channel's deadline"
    status = Status.UNKNOWN if settled.error_class == "unknown" else Status.FAILED
    return settled._replace(status=status, event=status.value, reason=reason, retry_in=None, dead=True)


def past(job: Job, rules: Rules, moment: datetime) -> bool:
    begun = job.entry.envelope.wanted_at
    return rules.deadline is not None and moment > begun + timedelta(seconds=rules.deadline)


def unreachable(job: Job, channel: str) -> Settlement | None:
    if job.claim.contact is None:
        reason = f"no contact for channel {channel} is known of this recipient"
        return unmade(job, Status.FAILED, reason, error_class="no_contact", dead=True)
    if job.claim.suppressed is not None:
        reason = f"the address is on the suppression list: {clean(job.claim.suppressed)}"
        return unmade(job, Status.SUPPRESSED, reason)
    return None


def worn_out(job: Job, rules: Rules) -> Settlement:
    """The last attempt allowed ended with its worker."""
    if rules.outward:
        return unmade(job, Status.UNKNOWN, LOST, error_class="unknown", dead=True)
    reason = "workers stopped during every attempt allowed"
    return unmade(job, Status.FAILED, reason, error_class="worker_lost", dead=True)


def unmade(
    job: Job, status: Status, reason: str, *, error_class: str | None = None, dead: bool = False
) -> Settlement:
    """Settled without an attempt: the one that the claim counted is taken back."""
    settled = made(job, status, error_class, reason)
    return settled._replace(attempts=settled.attempts - 1, dead=dead)


def settlement(job: Job, outcome: Outcome, rules: Rules, chance: float) -> Settlement | None:
    """What an outcome leads to. None: nothing happened, give the claim back."""
    match outcome:
        case Delivered(message_id, _):
            result = made(job, Status.DELIVERED, message_id=message_id)
            result = result._replace(segments=outcome.segments, found=outcome.found)
        case Transient(error_class, reason, retry_after, _):
            delay = rules.backoff.delay(attempts(job), chance, retry_after)
            result = retry(job, error_class, reason, delay)
        case Throttled(reason, retry_after, _):
            result = retry(job, "throttled", reason, rules.backoff.delay(attempts(job), chance, retry_after))
        case Permanent(error_class, reason, _):
            result = dead(job, error_class, reason)
        case RecipientGone(reason, _):
            result = dead(job, "recipient_gone", reason)
        case Deferred():
            result = deferred(job, outcome, rules, chance)
        case Unknown(reason, _):
            result = in_doubt(job, reason, rules.backoff.delay(attempts(job), chance))
        case LeaseShort():
            return None
        case _:
            assert_never(outcome)
    if result.dead and isinstance(outcome, Transient | Throttled | Unknown | Deferred) and outcome.reached:
        result = made(job, Status.DELIVERED, reason=result.reason)
    return result._replace(provider=outcome.provider, tried=outcome.tried, sends=sends(outcome))


def retry(job: Job, error_class: str, reason: str, delay: float) -> Settlement:
    """Another attempt, or none where all that are allowed have been made."""
    if worn(job) and error_class == "ask":  # it was sent once, and nobody could tell whether that arrived
        return made(job, Status.UNKNOWN, "unknown", reason)._replace(dead=True)
    if worn(job):
        return dead(job, error_class, reason)
    return made(job, Status.RETRYING, error_class, reason)._replace(retry_in=delay)


def deferred(job: Job, outcome: Deferred, rules: Rules, chance: float) -> Settlement:
    """Nobody was asked, so the attempt is taken back."""
    if outcome.exact:
        settled = unmade(job, Status.DEFERRED, outcome.reason, error_class=outcome.error_class)
        return settled._replace(retry_in=outcome.retry_after or 0.0)
    delay = rules.backoff.deferral(job.age(), chance, outcome.retry_after)
    if job.age() > PATIENCE_SECONDS:
        return retry(job, outcome.error_class, outcome.reason, delay)
    settled = unmade(job, Status.DEFERRED, outcome.reason, error_class=outcome.error_class)
    return settled._replace(retry_in=delay)


def in_doubt(job: Job, reason: str, delay: float) -> Settlement:
    """It may have arrived: the channel says whether to send again, perhaps only after asking, or to hold for a
    person."""
    if job.claim.on_unknown != "hold" and not worn(job):
        return retry(job, "unknown", reason, delay)
    return made(job, Status.UNKNOWN, "unknown", reason)._replace(dead=True)


def dead(job: Job, error_class: str, reason: str) -> Settlement:
    return made(job, Status.FAILED, error_class, reason)._replace(dead=True)


def worn(job: Job) -> bool:
    return attempts(job) >= (job.claim.attempts_allowed or 0)


def attempts(job: Job) -> int:
    return job.claim.attempts or 1


def made(
    job: Job,
    status: Status,
    error_class: str | None = None,
    reason: str | None = None,
    *,
    message_id: str | None = None,
) -> Settlement:
    """Settled after an attempt."""
    return Settlement(
        job.claim.notification_id,
        job.token,
        status,
        event=status.value,
        attempts=attempts(job),
        error_class=error_class,
        reason=reason,
        message_id=message_id,
        entry_id=job.entry.id.decode(),
    )
