"""What holds a notification back that may be sent: collected for a digest, put off by quiet hours or a cap. Pure.

Urgent ones are never held back, and a digest is not collected again. What is held back keeps its number of attempts.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from pydantic import ValidationError

from db.delivery import Settlement, Status
from db.rules import Slot
from outbox.envelope import Priority
from outbox.log import get
from outbox.restraints import Cap, Constraints, QuietHours, nearest
from workers.decide import Rules, unmade
from workers.job import Job
from workers.quiet import quiet_until, zone_of

log = get("worker")

# How long what a producer gives a key is collected, where neither he nor the channel says.
DIGEST_SECONDS = 600
EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Capped:
    """A cap, and the event types that share it."""

    cap: Cap
    scope: str


def may_be_held(job: Job, rules: Rules) -> bool:
    """Asked of every job, so it is cheap: nearly all are free."""
    claim, envelope = job.claim, job.entry.envelope
    return (
        claim.constraints is not None
        or claim.quiet_hours is not None
        or rules.channel.restrain
        or envelope.digest_key is not None
    ) and envelope.priority is not Priority.URGENT


def held(job: Job, rules: Rules, now: datetime) -> Settlement | None:
    """The settlement of what is to wait, by digest or quiet hours; caps are asked for afterwards."""
    return collected(job, rules, now) or quieted(job, rules, now)


def collected(job: Job, rules: Rules, now: datetime) -> Settlement | None:
    found = None if job.claim.is_digest else digest_of(job, rules)
    if found is None:
        return None
    key, window = found
    return collect(job, key, now + timedelta(seconds=window), "told in a digest")


def digest_of(job: Job, rules: Rules) -> tuple[str, int] | None:
    """The key, and for how many seconds. A channel's own rule comes first where the producer gives no key; inside
    Postgres, where nothing is sent, only a rule makes a digest."""
    envelope = job.entry.envelope
    pattern = nearest(rules.channel.digest, envelope.event_type)
    ruled = rules.channel.digest[pattern] if pattern else None
    if envelope.digest_key is None:
        return (f"rule:{pattern}", ruled) if pattern and ruled else None
    if ruled is None and not rules.outward:
        return None
    return f"key:{envelope.digest_key}", envelope.digest_window or ruled or DIGEST_SECONDS


def collect(job: Job, key: str, until: datetime, why: str) -> Settlement:
    # The statement that collects tells it, with the digest's id.
    settled = unmade(job, Status.DIGESTED, f"{why} at {minute(until)}")
    return settled._replace(event="", digest_key=key, until=until)


def quieted(job: Job, rules: Rules, now: datetime) -> Settlement | None:
    hours = quiet_hours(job, rules)
    if hours is None:
        return None
    zone = zone_of(job.claim.time_zone, rules.channel.time_zone)
    until = quiet_until(hours, zone, now)
    if until is None:
        return None
    return deferred(
        job, until, "quiet_hours", f"quiet hours in {zone.key} until {minute(until.astimezone(zone))}"
    )


def quiet_hours(job: Job, rules: Rules) -> QuietHours | None:
    """The nearest preference's; else the recipient's own, on channels that leave the house; else the channel's."""
    for _, given in preferences(job.claim.constraints):
        if "quiet_hours" in given.model_fields_set:
            return given.quiet_hours
    if rules.outward and job.claim.quiet_hours is not None:
        for _, given in preferences(f'[["*", {{"quiet_hours": {job.claim.quiet_hours}}}]]'):
            return given.quiet_hours
    return rules.channel.quiet_hours


def cap_of(job: Job, rules: Rules) -> Capped | None:
    for pattern, given in preferences(job.claim.constraints):
        if "cap" in given.model_fields_set:
            return Capped(given.cap, pattern) if given.cap else None
    return Capped(rules.channel.cap, EVERYTHING) if rules.channel.cap else None


def slot(job: Job, capped: Capped) -> Slot:
    cap = capped.cap
    return Slot(
        job.claim.notification_id, job.entry.envelope.user_id, capped.scope, cap.count, float(cap.per)
    )


def over_cap(job: Job, capped: Capped, until: datetime) -> Settlement:
    """Its window is full until then."""
    why = f"the cap of {capped.cap.count} in {duration(capped.cap.per)} is reached"
    if capped.cap.then == "digest" and not job.claim.is_digest:
        return collect(job, f"cap:{capped.scope}", until, f"{why}; told in a digest")
    return deferred(job, until, "cap", f"{why}; put off until {minute(until)}")


def deferred(job: Job, until: datetime, wait: Literal["quiet_hours", "cap"], why: str) -> Settlement:
    ends = job.entry.envelope.expires_at
    if ends is not None and ends <= until:
        return unmade(job, Status.EXPIRED, f"{why}, and expires_at comes before that")
    return unmade(job, Status.DEFERRED, why)._replace(until=until, wait=wait)


@lru_cache(maxsize=4096)  # few people write their own: most are one of a handful
def preferences(constraints: str | None) -> tuple[tuple[str, Constraints], ...]:
    """Pattern and constraints, nearest first. What cannot be read, which only plain SQL can have written, is left
    out and logged."""
    return tuple(readable(json.loads(constraints))) if constraints else ()


def readable(pairs: list[tuple[str, Any]]) -> Iterator[tuple[str, Constraints]]:
    for pattern, given in pairs:
        try:
            yield pattern, Constraints.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            log.error(
                "worker.constraints_refused", event_type=pattern, field=first["loc"], reason=first["msg"]
            )


def minute(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")


def duration(seconds: int) -> str:
    for name, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds % size == 0 and seconds >= size:
            return f"{seconds // size} {name}" if seconds > size else f"1 {name[:-1]}"
    return f"{seconds} seconds"
