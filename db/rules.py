"""What the rules of sending keep in Postgres: places under a cap, and digests."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from db.delivery import Settlement
from db.pool import Executor
from db.statements import load

SQL = load("rules")


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """Of one version of a channel. Seconds; None: the installation's setting."""

    version: int
    retry_base: float | None
    retry_cap: float | None
    retry_jitter: float | None
    retry_deadline: int | None
    rules: dict[str, Any]


class Slot(NamedTuple):
    """A place wanted under a cap: of `most` in `per` seconds, shared by what has this scope."""

    notification_id: UUID
    user_id: str
    scope: str
    most: int
    per: float


@dataclass(frozen=True, slots=True)
class Listed:
    """What a digest holds: some payloads, in order, the first one, and how many there are. `causes`: the trace contexts
    of those."""

    payloads: list[dict[str, Any]]
    first: dict[str, Any]
    total: int
    causes: Sequence[str] = ()


async def channel_rules(executor: Executor, channel: str) -> ChannelRules | None:
    """None for a channel that is gone."""
    row = await executor.fetchrow(SQL["channel_rules"], channel)
    return ChannelRules(**{**row, "rules": json.loads(row["rules"])}) if row else None


async def take_slots(executor: Executor, channel: str, slots: Sequence[Slot]) -> dict[UUID, datetime | None]:
    """For each the end of its window where that is full, or None: it has a place. One autocommitted statement;
    whoever has a place keeps it, so repeating it changes nothing."""
    rows = await executor.fetch(
        SQL["take_slots"], channel, *(list(column) for column in zip(*slots, strict=True))
    )
    return {row["id"]: row["until"] for row in rows}


async def collect(executor: Executor, channel: str, batch: Sequence[Settlement]) -> None:
    """Those of the batch that are to be told in a digest. In the transaction of settle."""
    items = [item for item in batch if item.digest_key is not None]
    if items:
        await executor.execute(
            SQL["collect"],
            channel,
            [item.notification_id for item in items],
            [item.attempts for item in items],
            [item.digest_key for item in items],
            [item.until for item in items],
            [item.detail() for item in items],
        )


async def close(executor: Executor, ids: Sequence[UUID]) -> None:
    """Nothing joins these digests any more."""
    await executor.execute(SQL["close_digests"], ids)


async def close_digests(
    executor: Executor, ids: Sequence[UUID], most: int, most_bytes: int
) -> dict[UUID, Listed]:
    """Close digests and read them. One with nothing left is missing. Not in a transaction: what the second statement
    reads must be what the first one has waited for."""
    await close(executor, ids)
    rows = await executor.fetch(SQL["list_digests"], ids, most, most_bytes)
    return {
        row["digest_id"]: Listed(
            json.loads(row["payloads"]), json.loads(row["first"]), row["total"], row["causes"] or ()
        )
        for row in rows
    }


async def fill_digests(executor: Executor, payloads: Iterable[tuple[UUID, dict[str, Any]]]) -> None:
    pairs = [(id_, json.dumps(payload, ensure_ascii=False)) for id_, payload in payloads]
    await executor.execute(SQL["fill_digests"], [id_ for id_, _ in pairs], [text for _, text in pairs])


async def finish_digests(executor: Executor, channel: str, ids: Sequence[UUID]) -> None:
    """What these digests held is delivered with them. In the transaction of settle."""
    await executor.execute(SQL["finish_digests"], channel, ids)


async def tell_ends(executor: Executor, channel: str, ends: Mapping[UUID, str]) -> None:
    """These digests were not delivered, and why: for the timelines of what they hold. In the transaction of settle."""
    await executor.execute(SQL["tell_ends"], channel, list(ends), list(ends.values()))
