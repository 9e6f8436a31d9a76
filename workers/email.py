"""The e-mail channel: template → message → mail server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from typing import Any

from db.delivery import Claim
from db.pool import Executor
from outbox.errors import SettingsError
from outbox.rendering.renderers import Rendered
from outbox.settings import resolve
from workers.configured import Configured
from workers.job import Hint, Job
from workers.message import BadAddressError, Letter, compose, message_id, sender
from workers.outcome import LeaseShort, Outcome, Permanent, Transient
from workers.providers import Providers
from workers.rendering import Rendering
from workers.smtp import CONNECTIONS, Mailer, parse

BUDGET_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Post:
    """What a config makes: who writes, and who carries it."""

    sender: Address
    providers: Providers[Letter]

    async def close(self) -> None:
        await self.providers.close()


class Email:
    """For one lane: its connections, its renderers, its copies of config and templates."""

    name = "email"
    outward = True

    def __init__(self, concurrency: int, lease_seconds: float) -> None:
        self.capacity = min(concurrency, CONNECTIONS)
        # An attempt that has begun must end before another worker may take the delivery over.
        self.budget = min(BUDGET_SECONDS, lease_seconds / 2)
        self._config = Configured(self.name, self.from_config, Post.close)
        self._rendering = Rendering(self.name)

    async def prepare(self, executor: Executor, claims: Sequence[Claim]) -> None:
        await self._config.refresh(executor, claims)
        await self._rendering.fetch(executor, claims)

    def from_config(self, config: Mapping[str, Any]) -> Post:
        """Raises SettingsError."""
        for key in ("smtp_url", "from"):
            if not isinstance(config.get(key), str):
                raise SettingsError(f"{key} is missing in the config of channel {self.name}")
        mailer = Mailer(parse(resolve(config["smtp_url"])), self.budget)
        return Post(sender(config["from"]), Providers([mailer]))

    async def attempt(self, job: Job) -> Outcome:
        post = self._config.get()
        if isinstance(post, Transient):
            return post
        rendered = await self._rendering.render(job)
        if not isinstance(rendered, Rendered):
            return rendered
        try:
            identity = message_id(job.entry.notification_id, self.name, post.sender.domain)
            letter = compose(rendered, post.sender, job.claim.contact or "", identity)
        except BadAddressError as error:
            return Permanent("bad_address", str(error))
        if not job.lasts(self.budget):
            return LeaseShort()
        return await post.providers.send(letter)

    async def again(self, executor: Executor, user_ids: Sequence[str]) -> Sequence[Hint]:
        return ()

    async def close(self) -> None:
        await self._rendering.close()
        await self._config.close()
