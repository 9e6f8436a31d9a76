"""What is kept of notifications that are at their end: how much it takes, and whether old ones can go."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from db import doctor as sql
from outbox.doctor.desk import Check, Desk
from outbox.doctor.finding import Finding, note, ok, warn
from outbox.doctor.words import size, span

MUCH = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    """`indexed`: whether old ones are found without reading all."""

    bytes: int
    indexed: bool
    retention: timedelta | None


async def kept(desk: Desk) -> Kept:
    found = await desk.ask(sql.kept)
    return Kept(found["bytes"], found["indexed"], desk.settings.notification_retention)


def judge_kept(seen: Kept) -> Iterator[Finding]:
    what = f"notifications and what hangs on them take {size(seen.bytes)}"
    if seen.retention is None and seen.bytes > MUCH:
        yield note(
            "schema.kept",
            f"{what}, and nothing takes away what is old",
            "OUTBOX_NOTIFICATION_RETENTION=P90D, for instance, if that history may go (docs/day-two.md)",
        )
    elif seen.retention is not None and not seen.indexed:
        yield warn(
            "schema.kept",
            "old notifications stay: the index notifications_created_at is missing",
            "outbox migrate",
        )
    else:
        until = f"for {span(seen.retention.total_seconds())}" if seen.retention else "for good"
        yield ok("schema.kept", f"{what}; they are kept {until}")


CHECK = Check("schema.kept", kept, judge_kept)
