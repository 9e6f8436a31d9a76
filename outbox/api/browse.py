"""GET /v1/notifications: what there is, newest first, by user, kind, channel, status and time."""

import json
from typing import Any, Literal, Self
from uuid import UUID

from asyncpg import Record
from pydantic import AwareDatetime, BaseModel, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from db import browse
from db.browse import END, Place, Wanted
from db.pool import Pool
from outbox.api import status
from outbox.api.contract import Contract, Endpoint
from outbox.api.notifications import ACQUIRE_SECONDS, PrettyResponse
from outbox.api.paging import Page, make_cursor, moment_and_id, parse_cursor
from outbox.api.reading import read
from outbox.api.status import DeliveryStatus, Status
from outbox.envelope import ChannelName, Key, Moment, Name, Priority
from outbox.restraints import Pattern
from outbox.settings import Settings
from outbox.tokens import Scope

# How many notifications one request looks at to find those that fit: some ten milliseconds.
LOOK = 2000
PAYLOADS = 100  # of up to 64 KiB each
LOWEST = UUID(int=0)


class Search(Page):
    """GET /v1/notifications. What is left out does not matter."""

    user_id: Name | None = None
    event_type: Pattern | None = None
    channel: ChannelName | None = None
    status: Literal[Status, "retrying"] | None = Field(
        None, description="Of the whole notification; with `channel`, of its delivery by that channel."
    )
    priority: Priority | None = None
    dedup_key: Key | None = None
    since: Moment | None = Field(None, description="Created at or after this moment.")
    until: Moment | None = Field(None, description="Created before this moment.")
    payload: bool = Field(False, description=f"With payloads; at most {PAYLOADS} a page then.")

    @model_validator(mode="after")
    def few_payloads(self) -> Self:
        if self.payload and "limit" in self.model_fields_set and self.limit > PAYLOADS:
            raise ValueError(f"limit must be at most {PAYLOADS} with payload")
        return self

    @property
    def size(self) -> int:
        return min(self.limit, PAYLOADS) if self.payload else self.limit

    @property
    def look(self) -> int:
        """One more than asked for, which tells whether there are more; where some may not fit, as many as one dares."""
        alone = self.event_type is self.channel is self.status is self.priority is None
        return self.size + 1 if alone else LOOK

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.user_id, self.dedup_key, self.event_type, self.channel, self.priority, self.since)

    @property
    def below(self) -> Place:
        """Where the page begins. Raises ProblemError for what is no cursor."""
        until = Place(self.until or END, LOWEST)
        if self.cursor is None:
            return until
        after = Place(*parse_cursor(self.cursor, moment_and_id))
        return min(until, after, key=lambda place: (place.created_at, place.id))


class Delivery(BaseModel):
    """How far it is by one channel."""

    channel: str
    status: DeliveryStatus
    attempts: int
    provider: str | None = None
    error_class: str | None = None
    settled_at: AwareDatetime | None = None
    next_attempt_at: AwareDatetime | None
    why: str | None = Field(description="Why it was not sent, or not yet.")


class Found(BaseModel):
    """A notification in a list."""

    id: UUID
    status: Status
    event_type: str
    user_id: str
    actor_user_id: str | None
    channels: list[str]
    template_name: str | None
    dedup_key: str | None
    priority: Priority
    created_at: AwareDatetime
    deliver_at: AwareDatetime | None
    expires_at: AwareDatetime | None
    canceled_at: AwareDatetime | None
    digest_key: str | None
    is_digest: bool
    deliveries: list[Delivery]
    payload: dict[str, Any] | None = Field(None, description="Only where it was asked for.")


class FoundPage(BaseModel):
    notifications: list[Found]
    next_cursor: str | None


COLUMNS = [name for name in Found.model_fields if name not in {"id", "status", "deliveries", "payload"}]
SEARCH = Contract(
    *("list_notifications", "List notifications", {200: FoundPage}, (Scope.PRODUCER, Scope.ADMIN)),
    query=Search,
)


class Browse:
    """The handler, and what it needs: the service's pool."""

    def __init__(self, _: Settings, pool: Pool) -> None:
        self.pool = pool

    def routes(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v1/notifications", self.list, SEARCH)]

    async def list(self, request: Request) -> Response:
        """Newest first. One request looks at no more than 2,000 notifications, so where few of them fit a page may hold
        less than `limit`, or nothing, and still have a `next_cursor`: only without one there are no more."""
        search = read(Search, dict(request.query_params))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            rows = await browse.page(conn, search.wanted, search.below, search.look, payloads=search.payload)
        fitting = [one for one in map(found, rows) if one and fits(one, search)]
        body = {"notifications": fitting[: search.size], "next_cursor": cursor(rows, fitting, search)}
        return PrettyResponse(body, headers={"Cache-Control": "no-store"})


def found(row: Record) -> dict[str, Any] | None:
    """A notification as it is shown; None for one that was only looked at."""
    if not row["fits"]:
        return None
    scheduled = json.loads(row["scheduled"])
    deliveries = status.by_channel(row["channels"], json.loads(row["deliveries"]), scheduled)
    shown = {
        "id": str(row["id"]),
        "status": status.whole(deliveries, scheduled, canceled=row["canceled_at"] is not None),
        **{name: status.plain(row[name]) for name in COLUMNS},
        "deliveries": [
            {name: delivery[name] for name in Delivery.model_fields if name in delivery}
            for delivery in deliveries
        ],
    }
    return shown if row["payload"] is None else shown | {"payload": json.loads(row["payload"])}


def fits(one: dict[str, Any], search: Search) -> bool:
    """Of the right status: that comes from its deliveries, so only here it is known."""
    if search.status is None:
        return True
    if search.channel is None:
        return bool(one["status"] == search.status)
    return any(
        delivery["channel"] == search.channel and delivery["status"] == search.status
        for delivery in one["deliveries"]
    )


def cursor(rows: list[Record], fitting: list[dict[str, Any]], search: Search) -> str | None:
    """Behind the last one shown, or else behind the last one looked at."""
    if len(fitting) > search.size:
        last = fitting[search.size - 1]
        return make_cursor(last["created_at"], last["id"])
    if rows and rows[-1]["number"] == search.look:
        return make_cursor(rows[-1]["created_at"].isoformat(), str(rows[-1]["id"]))
    return None
