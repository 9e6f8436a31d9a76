"""One look at all that is going on, as plain values: for `outbox status`, and for GET /v1/statistics/now."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.exceptions import ResponseError

from db import status
from db.pool import Executor
from outbox.nodes import Nodes
from outbox.streams import GROUP, Keys

COUNTED_ROWS = 100_000  # of a backlog; more is shown as so many and more
WINDOW = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Relay:
    """`lease_seconds` is what is left of the leader's lease; negative or None means that nobody leads."""

    holder: str | None
    lease_seconds: float | None
    tick: int | None
    tick_age_seconds: float | None
    lag_rows: int
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class Stream:
    name: str
    length: int
    pending: int
    consumers: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A group of rows: how many, and the seconds of the first (until it is due, or since it failed)."""

    name: str
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Look:
    at: datetime
    relay: Relay
    streams: list[Stream]
    deliveries: dict[str, dict[str, int]]  # channel → state → how many in the last 24 hours
    disabled: list[str]
    scheduled: list[Waiting]
    dead_letters: list[Waiting]


async def take(connection: Executor, nodes: Nodes, keys: Keys) -> Look:
    channels = await status.channels(connection)
    counts: dict[str, dict[str, int]] = {}
    for row in await status.deliveries(connection, datetime.now(UTC) - WINDOW):
        counts.setdefault(row["channel"], {})[row["status"]] = row["count"]
    names = [name for channel in channels for name in keys.streams(channel["name"], channel["readable"])]
    return Look(
        at=datetime.now(UTC),
        relay=await look_at_relay(connection),
        streams=await look_at_streams(nodes, names),
        deliveries=counts,
        disabled=[channel["name"] for channel in channels if not channel["enabled"]],
        scheduled=await scheduled(connection),
        dead_letters=await dead_letters(connection),
    )


async def scheduled(connection: Executor) -> list[Waiting]:
    """By what they wait for."""
    rows = await status.scheduled(connection)
    return [Waiting(row["reason"], row["count"], row["next_seconds"]) for row in rows]


async def dead_letters(connection: Executor) -> list[Waiting]:
    """By channel."""
    rows = await status.dead_letters(connection)
    return [Waiting(row["channel"], row["count"], row["oldest_seconds"]) for row in rows]


async def look_at_relay(connection: Executor) -> Relay:
    row = await status.relay(connection)
    rows, seconds = await status.lag(connection, COUNTED_ROWS)
    return Relay(row["holder"], row["lease_seconds"], row["tick"], row["tick_age_seconds"], rows, seconds)


async def look_at_streams(nodes: Nodes, names: list[str]) -> list[Stream]:
    """Those that there are: a lane that nobody used has no stream."""
    looks = [await look_at_stream(nodes, name) for name in names]
    return [look for look in looks if look is not None]


async def look_at_stream(nodes: Nodes, name: str) -> Stream | None:
    try:
        async with nodes.at(name) as redis:
            stream = await redis.xinfo_stream(name)
            groups = await redis.xinfo_groups(name)
            now, _ = await redis.time()
    except ResponseError as error:
        return None if "no such key" in str(error) else Stream(name, 0, 0, 0, None)
    group: dict[str, Any] = next((each for each in groups if text(each["name"]) == GROUP), {})
    first = stream["first-entry"]
    oldest = None if not first else max(0.0, now - int(text(first[0]).partition("-")[0]) / 1000)
    return Stream(name, stream["length"], group.get("pending", 0), group.get("consumers", 0), oldest)


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
