"""Recipients that come from elsewhere: whom to ask for, and what was answered."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from db.pool import Executor
from db.statements import load

SQL = load("recipients")


@dataclass(frozen=True, slots=True)
class Recipient:
    """How somebody is to be reached. None: not at all, or not known."""

    user_id: str
    email: str | None = None
    phone: str | None = None
    locale: str | None = None
    time_zone: str | None = None


async def to_ask_for(executor: Executor, user_ids: Iterable[str], fresh_seconds: float) -> dict[str, bool]:
    """Those of these users of whom nothing fresh is known; True where something older is."""
    rows = await executor.fetch(SQL["to_ask_for"], list(user_ids), fresh_seconds)
    return {row["user_id"]: row["known"] for row in rows}


async def remember(executor: Executor, recipients: Sequence[Recipient]) -> None:
    await executor.execute(
        SQL["remember"],
        [each.user_id for each in recipients],
        [each.email for each in recipients],
        [each.phone for each in recipients],
        [each.locale for each in recipients],
        [each.time_zone for each in recipients],
    )
