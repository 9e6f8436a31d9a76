"""Claim and settle: the two ends of a delivery in Postgres, a batch at a time. What workers do in between is theirs.

What is made once a row is a named tuple: a frozen dataclass of as many fields takes ten times as long to make.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple
from uuid import UUID

from db.pool import Executor
from db.statements import load

SQL = load("delivery")


class Status(StrEnum):
    """The states of a delivery, as `notify.deliveries` has them."""

    PENDING = "pending"
    SENDING = "sending"
    RETRYING = "retrying"
    DEFERRED = "deferred"  # put off without an attempt: quiet hours, a cap
    DIGESTED = "digested"  # in a digest, which has a delivery of its own
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


FINAL = frozenset(Status) - {Status.PENDING, Status.SENDING, Status.RETRYING, Status.DEFERRED}


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims, and for how long. `token` is fresh for each batch; repeating a claim keeps it."""

    channel: str
    worker: str
    token: UUID
    lease_seconds: float
    contacts: bool  # also look up contact, suppression and template: not for in-app


class Claim(NamedTuple):
    """One entry's answer: whether it was claimed, and the facts. Fields in the order of the statement's columns."""

    notification_id: UUID
    known: bool  # False once the notification was erased or purged
    prior_status: str | None  # before this claim; None where there was no delivery yet
    prior_attempts: int | None  # how often it was settled before, deferrals counted: what its entry carries
    attempts: int | None  # this one counted; None where the claim failed
    attempts_allowed: int | None
    taken_over: bool  # from a worker whose lease ran out: how its attempt ended is not known
    canceled: bool
    expired: bool
    enabled: bool | None  # the channel's switch
    version: int | None  # of the channel's config
    on_unknown: Literal["resend", "hold", "ask"] | None
    wanted: bool  # the recipient's preference
    contact: str | None
    locale: str | None
    time_zone: str | None
    suppressed: str | None  # why the address must not be written to
    template: str | None  # key for templates.sources
    # JSON: [pattern, constraints] of each preference that has some, nearest first.
    constraints: str | None = None
    quiet_hours: str | None = None  # JSON: the recipient's own
    is_digest: bool = False  # it carries a list that is to be fetched
    seen: bool = False  # of an escalation: read or archived in the inbox


@dataclass(frozen=True, slots=True)
class Tried:
    """A provider that did not deliver, before the one that an outcome is from. `sends`: requests that reached it."""

    provider: str
    error_class: str
    reason: str
    sends: int


class Settlement(NamedTuple):
    """What is written about one claimed delivery. Holds no personal data: it goes into the timeline."""

    notification_id: UUID
    token: UUID
    status: Status
    event: str
    attempts: int
    error_class: str | None = None
    reason: str | None = None
    message_id: str | None = None
    provider: str | None = None
    retry_in: float | None = None  # seconds
    until: datetime | None = None  # instead: the moment of the next try
    wait: str = "retry"  # what it waits for, as notify.scheduled has it
    digest_key: str | None = None  # to be collected until then, under this key
    dead: bool = False
    entry_id: str | None = None
    tried: Sequence[Tried] = ()  # providers before this one
    sends: int = 0  # requests that reached a provider
    segments: int | None = None  # of a text message
    found: bool = False  # by asking the provider: an earlier attempt had arrived

    @property
    def key(self) -> tuple[UUID, UUID]:
        return self.notification_id, self.token

    def detail(self) -> str:
        facts = {
            "error_class": self.error_class,
            "reason": self.reason,
            "provider": self.provider,
            "provider_message_id": self.message_id,
            "retry_in_seconds": None if self.retry_in is None else round(self.retry_in, 3),
            "tried": [asdict(tried) for tried in self.tried] or None,
            "sends": self.sends or None,
            "segments": self.segments,
            "found": self.found or None,
            "until": self.until and self.until.isoformat(timespec="seconds"),
            "digest_key": self.digest_key,
        }
        told = {name: fact for name, fact in facts.items() if fact is not None}
        return json.dumps(told) if told else "{}"


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A stream entry that is no envelope, with its bytes, and whose it is where they still tell."""

    entry_id: str
    reason: str
    raw: bytes
    notification_id: UUID | None = None
    attempt: int = 0


class Placed(NamedTuple):
    """What became of a delivery into an inbox: its item's place, and the counters as they are with it in. Fields as
    the statement's columns, but for the first."""

    notification_id: UUID
    open: bool  # False where an earlier call, whose reply was lost, had settled it
    seq: int | None  # None where this call placed nothing
    unread: int
    version: int
    delivered_at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    user_id: str
    last_seq: int
    unread: int
    version: int


async def claim(
    executor: Executor, who: Claimant, notification_ids: Sequence[UUID], attempts: Sequence[int]
) -> list[Claim]:
    """Claim a batch; the ids must be distinct. One autocommitted statement, safe to repeat with the same token."""
    rows = await executor.fetch(
        SQL["claim"],
        who.channel,
        notification_ids,
        attempts,
        who.token,
        who.lease_seconds,
        who.worker,
        who.contacts,
    )
    return [Claim(*row) for row in rows]


async def settle(
    executor: Executor, channel: str, batch: Sequence[Settlement]
) -> dict[tuple[UUID, UUID], bool]:
    """Write the results. Gives the (id, token) whose lease still held: True where this call settled it, False where
    an earlier one, whose reply was lost, had done so. What is left out belongs to another worker now."""
    rows = await executor.fetch(
        SQL["settle"],
        channel,
        [item.notification_id for item in batch],
        [item.token for item in batch],
        [item.status for item in batch],
        [item.attempts for item in batch],
        [item.event for item in batch],
        [item.error_class for item in batch],
        [item.reason for item in batch],
        [item.message_id for item in batch],
        [item.detail() for item in batch],
        [item.provider for item in batch],
    )
    return {(row["notification_id"], row["token"]): row["open"] for row in rows}


async def schedule_retries(executor: Executor, channel: str, batch: Sequence[Settlement]) -> None:
    """Those of the batch that are to be tried again, or for the first time after a deferral."""
    again = [
        item
        for item in batch
        if item.retry_in is not None or (item.until is not None and not item.digest_key)
    ]
    if again:
        await executor.execute(
            SQL["schedule_retries"],
            channel,
            [item.notification_id for item in again],
            [item.retry_in for item in again],
            [item.until for item in again],
            [item.wait for item in again],
        )


async def bury(executor: Executor, channel: str, stream: str, batch: Sequence[Settlement]) -> None:
    """Those of the batch that are dead letters."""
    dead = [item for item in batch if item.dead]
    if dead:
        await executor.execute(
            SQL["bury"],
            channel,
            stream,
            [item.notification_id for item in dead],
            [item.attempts for item in dead],
            [item.error_class or "unknown" for item in dead],
            [item.reason or "" for item in dead],
            [item.entry_id for item in dead],
        )


async def bury_undecodable(
    executor: Executor, channel: str, stream: str, entries: Sequence[Undecodable]
) -> set[str]:
    """Dead letters, and the end of the deliveries that are known. Gives the entries left alone, because another
    worker holds their delivery. One autocommitted statement, safe to repeat: an entry becomes one dead letter."""
    rows = await executor.fetch(
        SQL["bury_undecodable"],
        channel,
        stream,
        [entry.entry_id for entry in entries],
        [entry.reason for entry in entries],
        [entry.raw for entry in entries],
        [entry.notification_id for entry in entries],
        [entry.attempt for entry in entries],
    )
    return {row["entry_id"] for row in rows}


async def give_back(executor: Executor, channel: str, claims: Sequence[tuple[UUID, UUID, int]]) -> None:
    """Undo claims under which nothing was sent, by (notification, token, the entry's attempt). One autocommitted
    statement; repeating it changes nothing."""
    await executor.execute(
        SQL["give_back"],
        channel,
        [notification_id for notification_id, _, _ in claims],
        [token for _, token, _ in claims],
        [attempt for _, _, attempt in claims],
    )


async def settle_in_inbox(
    executor: Executor, channel: str, batch: Sequence[tuple[Settlement, str]]
) -> dict[tuple[UUID, UUID], Placed]:
    """Put (result, user) pairs into inboxes, in this order, and settle them as delivered. Gives what became of those
    whose lease still held, by (id, token); the rest belongs to other workers now. One autocommitted statement, safe
    to repeat."""
    rows = await executor.fetch(
        SQL["settle_in_inbox"],
        channel,
        [item.notification_id for item, _ in batch],
        [item.token for item, _ in batch],
        [item.attempts for item, _ in batch],
        [user_id for _, user_id in batch],
    )
    placed = {}
    for place, *facts in rows:
        item, _ = batch[place - 1]
        placed[item.key] = Placed(item.notification_id, *facts)
    return placed


async def inbox_counts(executor: Executor, user_ids: Sequence[str]) -> list[Counts]:
    return [Counts(*row) for row in await executor.fetch(SQL["inbox_counts"], user_ids)]


async def channel_config(executor: Executor, channel: str) -> tuple[int, Mapping[str, Any]] | None:
    """Version and config, or None for a channel that is gone."""
    row = await executor.fetchrow(SQL["channel_config"], channel)
    return (row["version"], json.loads(row["config"])) if row else None
