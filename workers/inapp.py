"""The in-app channel: into the inbox by the statement that settles, then a hint to the gateways."""

from collections.abc import Sequence

from pydantic_core import to_json

from db import delivery
from db.delivery import Claim, Counts, Placed
from db.pool import Executor
from outbox.inbox import InboxChange
from outbox.streams import Keys
from workers.job import Hint, Job, Settled, Written
from workers.outcome import Delivered, Outcome

NOTHING_MARKED: dict[str, list[int]] = {
    name: [] for name in ("read", "unread_again", "archived", "unarchived")
}


class InApp:
    """Inbox item, counters and settlement commit together, so an item is never there twice and never half."""

    name = "inapp"
    outward = False
    budget = 0.0

    def __init__(self, keys: Keys, capacity: int) -> None:
        self.keys = keys
        self.capacity = capacity

    async def prepare(self, executor: Executor, claims: Sequence[Claim]) -> None:
        """Nothing: the envelope holds all that an inbox item needs."""

    async def attempt(self, job: Job) -> Outcome:
        return Delivered()  # by settle_delivered(): there is nothing to do before

    async def settle_delivered(self, executor: Executor, delivered: Sequence[Settled]) -> Written:
        placed = await delivery.settle_in_inbox(
            executor, self.name, [(item.settlement, item.job.entry.envelope.user_id) for item in delivered]
        )
        jobs = {item.settlement.key: item.job for item in delivered}
        hints = [
            self.arrived(jobs[key], place, place.seq)
            for key, place in placed.items()
            if place.seq is not None
        ]
        return Written({key: place.open for key, place in placed.items()}, hints)

    async def again(self, executor: Executor, user_ids: Sequence[str]) -> Sequence[Hint]:
        return [self.counted(counts) for counts in await delivery.inbox_counts(executor, user_ids)]

    async def close(self) -> None:
        """Nothing is held."""

    def arrived(self, job: Job, place: Placed, seq: int) -> Hint:
        """What an InboxChange with an InboxItem would write. All of it was checked before, and to make two models takes
        three times as long as the JSON alone: a third of what this worker did."""
        envelope = job.entry.envelope
        item = {
            "seq": seq,
            "notification_id": envelope.notification_id,
            "event_type": envelope.event_type,
            "actor_user_id": envelope.actor_user_id,
            "payload": envelope.payload,
            "created_at": envelope.created_at,
            "delivered_at": place.delivered_at,
            "read_at": None,
            "archived_at": None,
        }
        change = {"version": place.version, "last_seq": seq, "unread": place.unread}
        # Before the item, in which anybody may write anything.
        traced = {"traceparent": job.span.traceparent} if job.span.recorded else {}
        message = to_json({**change, **traced, "item": item, **NOTHING_MARKED}, inf_nan_mode="null").decode()
        return Hint(self.keys.user(envelope.user_id), message)

    def counted(self, counts: Counts) -> Hint:
        change = InboxChange(version=counts.version, last_seq=counts.last_seq, unread=counts.unread)
        return Hint(self.keys.user(counts.user_id), change.model_dump_json())
