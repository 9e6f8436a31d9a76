"""The in-app channel: into the inbox within the transaction that settles, then a hint to the gateways."""

from collections.abc import Sequence

from db import delivery
from db.delivery import Claim, Counts, Placed
from db.pool import Executor
from outbox.inbox import InboxChange, InboxItem
from outbox.streams import Keys
from workers.job import Hint, Job
from workers.outcome import Delivered, Outcome


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
        return Delivered()  # in within(): there is nothing to do before

    async def within(self, executor: Executor, delivered: Sequence[Job]) -> Sequence[Hint]:
        jobs = {job.entry.notification_id: job for job in delivered}
        placed = await delivery.put_in_inbox(
            executor, [(job.entry.notification_id, job.entry.envelope.user_id) for job in delivered]
        )
        return [self.arrived(jobs[place.notification_id], place) for place in placed]

    async def again(self, executor: Executor, user_ids: Sequence[str]) -> Sequence[Hint]:
        return [self.counted(counts) for counts in await delivery.inbox_counts(executor, user_ids)]

    async def close(self) -> None:
        """Nothing is held."""

    def arrived(self, job: Job, place: Placed) -> Hint:
        envelope = job.entry.envelope
        item = InboxItem(
            seq=place.seq,
            notification_id=envelope.notification_id,
            event_type=envelope.event_type,
            actor_user_id=envelope.actor_user_id,
            payload=envelope.payload,
            created_at=envelope.created_at,
            delivered_at=place.delivered_at,
        )
        change = InboxChange(version=place.version, last_seq=place.seq, unread=place.unread, item=item)
        return Hint(self.keys.user(envelope.user_id), change.model_dump_json())

    def counted(self, counts: Counts) -> Hint:
        change = InboxChange(version=counts.version, last_seq=counts.last_seq, unread=counts.unread)
        return Hint(self.keys.user(counts.user_id), change.model_dump_json())
