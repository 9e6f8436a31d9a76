"""How much one recipient is sent in a time, on any channel: `"recipient_rate": "5/hour"` in its config."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workers.common import Common
from workers.job import Job
from workers.outcome import Deferred, Outcome
from workers.rates import Rate, Rates, rate


@dataclass(frozen=True, slots=True)
class RecipientRate:
    """Of one version of a channel's config."""

    channel: str
    rates: Rates | None
    limit: Rate | None

    async def send(self, job: Job, address: str, sending: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """By `sending`, or put off. Each notification counts once for its recipient, however many attempts it takes,
        and not where nobody was asked to send it."""
        rates, limit = self.rates, self.limit
        if rates is None or limit is None or (job.claim.attempts or 0) > 1:
            return await sending()
        if deferred := await rates.recipient(limit, self.channel, address):
            return deferred
        outcome = await sending()
        if isinstance(outcome, Deferred):
            await rates.give_back(limit, self.channel, address)
        return outcome


def recipient_rate(config: Mapping[str, Any], common: Common) -> RecipientRate:
    """Raises SettingsError."""
    text = config.get("recipient_rate")
    limit = None if text is None else rate(text, exact=True)
    return RecipientRate(common.channel, common.rates, limit)
