"""The routes of /v1/notifications: take one, take many, tell how far one has come."""

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db import notifications
from db.pool import Executor, Pool
from outbox import tracing
from outbox.api import limited, sending, status, why
from outbox.api.body import JSON, parse_object, read_json_bytes
from outbox.api.contract import Contract, Endpoint, caller
from outbox.api.gathering import Gathering
from outbox.api.guard import Guard
from outbox.api.intake import BATCH, KEY_HEADER, Accepted, accept_batch, read_batch, read_one
from outbox.api.problems import ProblemError, invalid
from outbox.envelope import Notification
from outbox.errors import InvalidNotificationError
from outbox.settings import Settings
from outbox.tokens import Identity, Scope

ONE_BYTES = 1024 * 1024
BATCH_BYTES = 16 * 1024 * 1024  # a thousand notifications of 16 KiB
ACQUIRE_SECONDS = 5.0


class Linked(BaseModel):
    """A notification that is committed, and where to follow it."""

    id: UUID
    status_url: str


class Batch(BaseModel):
    """All of them are taken, or none."""

    model_config = ConfigDict(extra="forbid")

    notifications: Annotated[list[Notification], Field(min_length=1, max_length=BATCH)]


class Entry(Linked):
    """`replayed`: its dedup_key was taken, and this is the first one's id."""

    replayed: bool


class Taken(BaseModel):
    notifications: list[Entry]


PRODUCER = (Scope.PRODUCER,)
LOCATION = {"Location": "Where to follow the notification."}
REPLAYED = {"Idempotent-Replayed": "true where nothing new was made, as the dedup_key was known."}
TRACE = {"traceparent": "The caller's trace context (W3C), for those that give none of their own."}
ITS_ID = {"id": "$response.body#/id"}
CREATE = Contract(
    *("create_notification", "Notify somebody", {202: Linked}, PRODUCER),
    limited=True,
    body=Notification,
    headers=TRACE | {KEY_HEADER: "The dedup_key, for those that would rather give it here."},
    sends=LOCATION | REPLAYED,
    links={"show_notification": ITS_ID, "cancel_notification": ITS_ID},
)
CREATE_BATCH = Contract(
    *("create_notifications", f"Notify up to {BATCH} times at once", {202: Taken}, PRODUCER),
    limited=True,
    body=Batch,
    headers=TRACE,
    sends=REPLAYED,
)
SHOW = Contract(
    "show_notification",
    "Tell how far a notification has come",
    {200: status.Shown},
    PRODUCER,
    limited=True,
    problems=(404,),
)
CANCEL = Contract(
    *("cancel_notification", "Cancel a notification", {200: why.Withdrawn}, PRODUCER),
    limited=True,
    problems=(404,),
)


class Notifications:
    """The handlers, and what they share: the settings, the service's pool, who counts, and what gathers single
    requests."""

    def __init__(self, settings: Settings, pool: Pool, guard: Guard, gathering: Gathering) -> None:
        self.settings = settings
        self.pool = pool
        self.guard = guard
        self.gathering = gathering

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/v1/notifications", self.create, CREATE),
            Endpoint("POST", "/v1/notifications:batch", self.create_batch, CREATE_BATCH),
            Endpoint("GET", "/v1/notifications/{id:bare}", self.show, SHOW),
            Endpoint("DELETE", "/v1/notifications/{id:bare}", self.cancel, CANCEL),
        ]

    async def create(self, request: Request) -> Response:
        """It is committed when the answer comes. With a dedup_key it is safe to repeat: the first one's id is given."""
        document = parse_object(await read_json_bytes(request, ONE_BYTES))
        notification = read_one(document, request.headers)
        limited.hold(caller(request), notification)
        notification = limited.own(caller(request), notification)
        span, [notification] = sending.begin([notification])
        with tracing.ending(span):
            accepted = await self.gathering.accept(notification)
            span.note({"messaging.message.id": str(accepted.id), "outbox.replayed": accepted.replayed})
        url = self.url(accepted)
        body = f'{{"id":"{accepted.id}","status_url":{json.dumps(url)}}}'
        return Response(body, 202, {"Location": url} | replay_header(accepted.replayed), JSON)

    async def create_batch(self, request: Request) -> Response:
        """All in one transaction: they are committed when the answer comes, or each that is wrong is named. Each counts
        as a request where there is a rate."""
        body = await read_json_bytes(request, BATCH_BYTES)
        # In a thread: megabytes of JSON would hold up every other request.
        batch = await asyncio.to_thread(parse_batch, body, request.headers)
        limited.hold_all(caller(request), batch)
        batch = limited.own_all(caller(request), batch)
        await self.guard.charge(request, len(batch))
        span, stored = sending.begin(batch)
        with tracing.ending(span):
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
                accepted = await accept_batch(conn, stored)
        shown = [self.link(each) | {"replayed": each.replayed} for each in accepted]
        headers = replay_header(all(each.replayed for each in accepted))
        return JSONResponse({"notifications": shown}, 202, headers)

    async def show(self, request: Request) -> Response:
        """With each channel's delivery, why it was not sent where it was not, and a timeline."""
        identity = parse_id(request.path_params["id"])
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            row = await notifications.status(conn, identity)
        if row is None or limited.hides(caller(request), row["event_type"], row["channels"]):
            raise ProblemError(404, "not-found", f"There is no notification {identity}.")
        shown = status.describe(dict(row))
        shown["dedup_key"] = limited.given(caller(request), shown["dedup_key"])
        return PrettyResponse(shown, headers={"Cache-Control": "no-store"})

    async def cancel(self, request: Request) -> Response:
        """Each channel says whether that was in time. Safe to repeat. The notification can still be looked at, as every
        one that did not arrive: its timeline says why."""
        identity = parse_id(request.path_params["id"])
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            hidden = caller(request).limits and await self.hidden(conn, identity, caller(request))
            canceled = None if hidden else await notifications.cancel(conn, identity)
        if canceled is None:
            raise ProblemError(404, "not-found", f"There is no notification {identity}.")
        return PrettyResponse(why.withdrawn(identity, canceled), headers={"Cache-Control": "no-store"})

    async def hidden(self, conn: Executor, identity: UUID, who: Identity) -> bool:
        row = await notifications.status(conn, identity)
        return row is None or limited.hides(who, row["event_type"], row["channels"])

    def link(self, accepted: Accepted) -> dict[str, Any]:
        return {"id": str(accepted.id), "status_url": self.url(accepted)}

    def url(self, accepted: Accepted) -> str:
        return f"{self.settings.public_api_url}/v1/notifications/{accepted.id}"


class PrettyResponse(JSONResponse):
    """JSON for eyes as well as for programs."""

    def render(self, content: Any) -> bytes:
        return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def parse_batch(body: bytes, headers: Mapping[str, str]) -> list[Notification]:
    return read_batch(parse_object(body), headers)


def parse_id(text: str) -> UUID:
    """The id in its one canonical spelling, in either case. Raises ProblemError, 422."""
    try:
        identity = UUID(text)
    except ValueError:
        identity = None
    if identity is None or str(identity) != text.lower():
        raise invalid(
            InvalidNotificationError("id", "must be a UUID like 01890a5d-ac96-774b-bcce-b302099a8057")
        )
    return identity


def replay_header(replayed: bool) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if replayed else {}
