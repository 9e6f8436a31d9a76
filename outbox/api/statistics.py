"""The routes of /v1/statistics: what became of the notifications of a time, and what is going on at this moment."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from asyncpg import Record
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response

from db import statistics, status
from db.delivery import Status
from db.pool import Pool
from db.statistics import Grouping
from outbox import look
from outbox.api.contract import Contract, Endpoint
from outbox.api.notifications import ACQUIRE_SECONDS, PrettyResponse
from outbox.api.reading import read
from outbox.envelope import Moment
from outbox.log import get
from outbox.nodes import Nodes
from outbox.service import describe
from outbox.settings import Settings
from outbox.tokens import Scope

log = get("api")

# How many notifications one request counts, the newest of the time: about a second.
COUNTED = 200_000
GROUPS = 1000
DAY = timedelta(days=1)
DIMENSIONS = ("channel", "event_type", "priority", "hour", "day")
REDIS_SECONDS = 3.0
NO_STORE = {"Cache-Control": "no-store"}


def dimensions(text: str) -> str:
    names = text.split(",") if text else []
    if not set(names) <= set(DIMENSIONS) or len(set(names)) != len(names) or {"hour", "day"} <= set(names):
        raise ValueError(
            f"must be some of {', '.join(DIMENSIONS)}, with commas between; not both hour and day"
        )
    return text


class Asked(BaseModel):
    """GET /v1/statistics."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: Moment | None = Field(
        None, description="Created at or after this moment; left out: a day before `until`."
    )
    until: Moment | None = Field(None, description="Created before this moment; left out: now.")
    by: Annotated[str, AfterValidator(dimensions)] = Field(
        "channel", description=f"What to tell apart: some of {', '.join(DIMENSIONS)}, with commas between."
    )

    @model_validator(mode="after")
    def some_time(self) -> Self:
        if self.span[0] >= self.span[1]:
            raise ValueError("since must be before until")
        return self

    @property
    def span(self) -> tuple[datetime, datetime]:
        until = self.until or datetime.now(UTC)
        return self.since or until - DAY, until

    @property
    def names(self) -> list[str]:
        return self.by.split(",") if self.by else []

    @property
    def grouping(self) -> Grouping:
        told = {name: name in self.names for name in ("channel", "event_type", "priority")}
        return Grouping(
            **told, period="hour" if "hour" in self.names else "day" if "day" in self.names else None
        )


class Seconds(BaseModel):
    """From creation (or `deliver_at`, where that is later) to delivery, retries and deferrals included."""

    p50: float
    p95: float
    p99: float


class Figures(BaseModel):
    """Deliveries: a notification by two channels has two."""

    deliveries: int
    statuses: dict[Status, int] = Field(description="Those that occur, as they are now.")
    seconds_to_delivered: Seconds | None = Field(description="null where none was delivered.")


class Group(Figures):
    """With what it was grouped by."""

    channel: str | None = None
    event_type: str | None = None
    priority: str | None = None
    hour: AwareDatetime | None = None
    day: AwareDatetime | None = None


class Counted(BaseModel):
    """`complete` false: there were more than 200,000 notifications, and only those from `counted_since` on are in."""

    since: AwareDatetime
    until: AwareDatetime
    complete: bool
    counted_since: AwareDatetime
    notifications: int
    total: Figures
    groups: list[Group]
    groups_complete: bool = Field(description="false: there are more groups than the 1,000 that are listed.")


class Relay(BaseModel):
    """`lag_rows`: committed and not yet in a stream. `lease_seconds` null or negative: nobody leads."""

    holder: str | None
    lease_seconds: float | None
    tick: int | None
    tick_age_seconds: float | None
    lag_rows: int
    lag_seconds: float


class Stream(BaseModel):
    """A queue. `length`: entries in it, those in work among them; `pending`: those in work."""

    name: str
    length: int
    pending: int
    consumers: int
    oldest_seconds: float | None


class Waiting(BaseModel):
    """`seconds` until the first is due, or since the first failed."""

    name: str
    count: int
    seconds: float


class Now(BaseModel):
    """What `outbox status` shows."""

    at: AwareDatetime
    relay: Relay
    streams: list[Stream] | None = Field(description="null: Redis does not answer.")
    scheduled: list[Waiting] = Field(description="By what they wait for.")
    dead_letters: list[Waiting] = Field(description="By channel.")


ADMIN = (Scope.ADMIN,)
COUNT = Contract("show_statistics", "Count what became of notifications", {200: Counted}, ADMIN, query=Asked)
NOW = Contract("show_queues", "Queues and the relay's lag now", {200: Now}, ADMIN)


class Statistics:
    """The handlers, and what they share: the settings, the service's pool, and Redis if there is one."""

    def __init__(self, settings: Settings, pool: Pool, nodes: Nodes | None) -> None:
        self.settings, self.pool, self.nodes = settings, pool, nodes

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/v1/statistics", self.count, COUNT),
            Endpoint("GET", "/v1/statistics/now", self.now, NOW),
        ]

    async def count(self, request: Request) -> Response:
        """From the notifications themselves, so a redriven one counts as what it is now. At most 200,000 are counted,
        the newest of the time: a second's work. For longer times take the metrics."""
        asked = read(Asked, dict(request.query_params))
        span = asked.span
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            whole, *groups = await statistics.count(conn, span, COUNTED, asked.grouping, GROUPS + 1)
        complete = whole["notifications"] < COUNTED
        body = {
            "since": span[0].isoformat(),
            "until": span[1].isoformat(),
            "complete": complete,
            "counted_since": (span[0] if complete else whole["first_at"]).isoformat(),
            "notifications": whole["notifications"],
            "total": figures(whole),
            "groups": [named(group, asked.names) | figures(group) for group in groups[:GROUPS]]
            if asked.names
            else [],
            "groups_complete": len(groups) <= GROUPS,
        }
        return PrettyResponse(body, headers=NO_STORE)

    async def now(self, _: Request) -> Response:
        """Cheap, however long the queues are: the lag is counted up to 100,000 rows."""
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            relay = await look.look_at_relay(conn)
            channels = await status.channels(conn)
            scheduled, dead = await look.scheduled(conn), await look.dead_letters(conn)
        streams = await self.streams(channels)
        body = {
            "at": datetime.now(UTC).isoformat(),
            "relay": asdict(relay),
            "streams": None if streams is None else [asdict(stream) for stream in streams],
            "scheduled": [asdict(item) for item in scheduled],
            "dead_letters": [asdict(item) for item in dead],
        }
        return PrettyResponse(body, headers=NO_STORE)

    async def streams(self, channels: list[Record]) -> list[look.Stream] | None:
        if self.nodes is None:
            return None
        keys = self.settings.keys
        names = [name for row in channels for name in keys.streams(row["name"], row["readable"])]
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                return await look.look_at_streams(self.nodes, names)
        except (RedisError, OSError) as error:
            log.warning("api.streams_unknown", error=describe(error))
            return None


def named(row: Record, names: list[str]) -> dict[str, Any]:
    return {name: row["period"].isoformat() if name in {"hour", "day"} else row[name] for name in names}


def figures(row: Record) -> dict[str, Any]:
    p50, p95, p99 = row["seconds"] or (None, None, None)
    return {
        "deliveries": row["deliveries"],
        "statuses": {state: row[state] for state in Status if row[state]},
        "seconds_to_delivered": None if p50 is None else {"p50": p50, "p95": p95, "p99": p99},
    }
