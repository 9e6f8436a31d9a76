"""The e-mail channel: template → letter → provider; and addresses that are gone, onto the suppression list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from db.delivery import Claim
from db.pool import Executor
from db.suppressions import Suppression, suppress
from outbox import unsubscribe, verp
from outbox.envelope import Priority
from outbox.rendering.renderers import Rendered
from outbox.settings import Settings
from workers.common import Common
from workers.concurrency import Concurrency
from workers.configured import Configured
from workers.email_config import Post, read
from workers.gathering import Coming
from workers.job import Hint, Job, Settled
from workers.message import BadAddressError, Letter, address, unsubscribe_headers
from workers.outcome import LeaseShort, Outcome, Permanent, Transient
from workers.rendering import Rendering
from workers.smtp import CONNECTIONS

BUDGET_SECONDS = 30.0
GONE = "hard bounce"


@dataclass(frozen=True, slots=True)
class Outside:
    """What the world outside gets of us: where the API is, and the keys that sign links and bounce addresses."""

    api_url: str
    unsubscribe_key: bytes
    bounce_key: bytes

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.public_api_url, settings.link_key("unsubscribe"), settings.link_key("bounce"))


class Email:
    """For one lane: its connections, its renderers, its copies of config and templates."""

    name = "email"
    outward = True

    def __init__(
        self, concurrency: int, lease_seconds: float, outside: Outside, common: Common | None = None
    ) -> None:
        self.concurrency, self.outside = concurrency, outside
        # An attempt that has begun must end before another worker may take the delivery over.
        self.budget = min(BUDGET_SECONDS, lease_seconds / 2)
        self._common = common or Common(self.name)
        self._config = Configured(self.name, self.from_config, Post.close)
        self._rendering = Rendering(self.name)
        self._coming = Coming()

    @property
    def capacity(self) -> int:
        """As many as there are connections to a mail server, or as fill the batches of one that takes many."""
        post = self._config.get()
        return max(self.ceiling, 0 if isinstance(post, Transient) else post.batched)

    @property
    def pace(self) -> Concurrency | None:
        """A batch takes as long as it takes, however many are in it."""
        post = self._config.get()
        return None if isinstance(post, Transient) or post.batched else post.providers.pace()

    @property
    def ceiling(self) -> int:
        return min(self.concurrency, CONNECTIONS)

    async def prepare(self, executor: Executor, claims: Sequence[Claim]) -> None:
        await self._config.refresh(executor, claims)
        await self._rendering.fetch(executor, claims)

    def from_config(self, config: Mapping[str, Any]) -> Post:
        """Raises SettingsError."""
        post = read(config, self._common, self.budget, self._coming)
        return post if post.batched else replace(post, providers=post.providers.paced(self.ceiling))

    async def attempt(self, job: Job) -> Outcome:
        async with self._config.use() as post:
            return post if isinstance(post, Transient) else await self._deliver(post, job)

    async def _deliver(self, post: Post, job: Job) -> Outcome:
        self._coming.number += 1
        try:
            letter = await self.letter(post, job)
        finally:
            self._coming.number -= 1
        if not isinstance(letter, Letter):
            return letter
        if not job.lasts(self.budget):
            return LeaseShort()
        urgent = job.entry.envelope.priority is Priority.URGENT
        return await post.recipient_rate.send(
            job, letter.recipient.lower(), lambda: post.providers.send(letter, urgent=urgent)
        )

    async def letter(self, post: Post, job: Job) -> Letter | Outcome:
        link = self.link(post, job)
        rendered = await self._rendering.render(job, {"unsubscribe_url": link or ""})
        if not isinstance(rendered, Rendered):
            return rendered
        try:
            return self.write(post, job, rendered, link)
        except BadAddressError as error:
            return Permanent("bad_address", str(error))

    def link(self, post: Post, job: Job) -> str | None:
        wish = post.offer.wish(job.entry.envelope, self.name)
        return unsubscribe.link(self.outside.api_url, self.outside.unsubscribe_key, wish) if wish else None

    def write(self, post: Post, job: Job, rendered: Rendered, link: str | None) -> Letter:
        """Raises BadAddressError."""
        recipient = address(job.claim.contact or "")
        whose = (job.entry.notification_id, self.name, recipient)
        bounce = post.bounce_address
        return Letter(
            notification_id=job.entry.notification_id,
            channel=self.name,
            sender=post.sender,
            recipient=recipient,
            rendered=rendered,
            headers=unsubscribe_headers(link) if link else {},
            bounce=verp.envelope_sender(self.outside.bounce_key, bounce, whose) if bounce else None,
            kind=job.claim.template or "",
        )

    async def record(self, executor: Executor, settled: Sequence[Settled]) -> None:
        """Addresses that are gone go onto the suppression list."""
        gone = [each.job.claim.contact for each in settled if each.settlement.error_class == "recipient_gone"]
        await suppress(executor, [Suppression(self.name, contact, GONE) for contact in gone if contact])

    async def again(self, executor: Executor, user_ids: Sequence[str]) -> Sequence[Hint]:
        return ()

    async def close(self) -> None:
        await self._rendering.close()
        await self._config.close()
