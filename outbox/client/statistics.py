"""What became of notifications, and what is going on now, for administrators. Generators, see steps.py."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from outbox.client.admin_models import Now, Statistics
from outbox.client.query import query
from outbox.client.retry import Retry
from outbox.client.steps import Call, Steps, ask, reading

Dimension = Literal["channel", "event_type", "priority", "hour", "day"]


def count(
    retry: Retry,
    by: Iterable[Dimension] = ("channel",),
    since: datetime | str | None = None,
    until: datetime | str | None = None,
) -> Steps[Statistics]:
    """Of those created from `since` (a day before) until `until` (now)."""
    call = Call("GET", "/v1/statistics", query(by=",".join(by), since=since, until=until))
    return ask(call, reading(Statistics), retry)


def now(retry: Retry) -> Steps[Now]:
    """Queues, and the relay's lag."""
    return ask(Call("GET", "/v1/statistics/now"), reading(Now), retry)
