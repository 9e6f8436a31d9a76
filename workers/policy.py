"""What a channel's row says about sending by it, as one lane holds it: retries and restraints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from db import rules as rows
from db.delivery import Claim
from db.pool import Executor
from outbox.log import get
from outbox.restraints import UNRESTRAINED, ChannelRules
from workers.outcome import clean
from workers.retry import Backoff

log = get("worker")


@dataclass(frozen=True, slots=True)
class Policy:
    """`trouble`: why the channel's rules cannot be read; nothing is sent until they can."""

    backoff: Backoff
    deadline: int | None = None  # seconds, in which what failed is tried again
    rules: ChannelRules = UNRESTRAINED
    trouble: str | None = None


class Policies:
    """Of one lane. `default` holds the installation's settings."""

    def __init__(self, channel: str, default: Policy) -> None:
        self.channel, self.default, self.current = channel, default, default
        self._version: int | None = None

    async def refresh(self, executor: Executor, claims: Sequence[Claim]) -> None:
        """Read anew whenever a claim shows another version."""
        if all(claim.version == self._version for claim in claims):
            return
        row = await rows.channel_rules(executor, self.channel)
        if row is None or row.version == self._version:
            return
        self._version, self.current = row.version, read(row, self.default)
        if self.current.trouble:
            log.error(
                "worker.rules_refused", channel=self.channel, version=row.version, reason=self.current.trouble
            )


def read(row: rows.ChannelRules, default: Policy) -> Policy:
    backoff = default.backoff
    given = {"base": row.retry_base, "cap": row.retry_cap, "jitter": row.retry_jitter}
    backoff = replace(backoff, **{name: value for name, value in given.items() if value is not None})
    policy = replace(default, backoff=backoff, deadline=row.retry_deadline)
    try:
        return replace(policy, rules=ChannelRules.model_validate(row.rules))
    except ValidationError as error:
        return replace(policy, trouble=complaint(error))


def complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return clean(f"rules of the channel: {where}: {first['msg']}")
