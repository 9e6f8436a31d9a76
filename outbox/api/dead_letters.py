"""The routes of /v1/dead-letters: what could not be delivered, counted, redriven, discarded."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from db import dead
from db.dead import DeadLetter, Order, Place, Treated
from db.pool import Executor, Pool
from outbox.api.auth import require
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.problems import refused
from outbox.api.reading import read
from outbox.errors import InvalidNotificationError
from outbox.settings import Settings
from outbox.tokens import Scope

BODY_BYTES = 64 * 1024
ACQUIRE_SECONDS = 5.0


class Choice(BaseModel):
    """Which letters, by what they have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: str | None = None
    error_class: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    notification_id: UUID | None = None

    def filter(self, *, closed: bool = False) -> dead.Filter:
        return dead.Filter(
            self.channel, self.error_class, self.since, self.until, self.notification_id, closed
        )


class Listing(Choice):
    """The query of a list. `closed`: those redriven or discarded, too."""

    closed: bool = False
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: str | None = None


class Treatment(BaseModel):
    """What is to be redriven or discarded: letters by `ids`, or those that a `filter` finds; {} finds all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: Annotated[list[UUID], Field(min_length=1, max_length=1000)] | None = None
    filter: Choice | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    dry_run: bool = False
    per_second: Annotated[float, Field(gt=0, le=10_000)] | None = None

    @model_validator(mode="after")
    def one_of_both(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("give either ids or a filter")
        return self

    @property
    def which(self) -> dead.Filter | Sequence[UUID]:
        return self.filter.filter() if self.filter else self.ids or []

    @property
    def order(self) -> Order:
        return Order(self.limit, self.dry_run, self.per_second)


class DeadLetters:
    """The handlers, and what they share: the settings and the service's pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool

    def routes(self) -> list[Route]:
        return [
            Route("/v1/dead-letters", self.list, methods=["GET"]),
            Route("/v1/dead-letters:count", self.count, methods=["GET"]),
            Route("/v1/dead-letters:redrive", self.redrive, methods=["POST"]),
            Route("/v1/dead-letters:discard", self.discard, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        require(request, self.settings, Scope.ADMIN)
        query = read(Listing, dict(request.query_params))
        after = parse_cursor(query.cursor) if query.cursor else None
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            letters = await dead.list_dead(
                conn, query.filter(closed=query.closed), after=after, limit=query.limit + 1
            )
        page, more = letters[: query.limit], len(letters) > query.limit
        cursor = make_cursor(page[-1]) if more else None
        return private({"dead_letters": list(map(shown, page)), "next_cursor": cursor})

    async def count(self, request: Request) -> Response:
        require(request, self.settings, Scope.ADMIN)
        query = read(Choice, dict(request.query_params))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            kinds = await dead.count_dead(conn, query.filter())
        return private({"total": sum(kind.letters for kind in kinds), "kinds": list(map(asdict, kinds))})

    async def redrive(self, request: Request) -> Response:
        return await self.treat(request, dead.redrive)

    async def discard(self, request: Request) -> Response:
        return await self.treat(request, dead.discard)

    async def treat(
        self,
        request: Request,
        how: Callable[[Executor, dead.Filter | Sequence[UUID], Order], Awaitable[Sequence[Treated]]],
    ) -> Response:
        require(request, self.settings, Scope.ADMIN)
        asked = read(Treatment, parse_object(await read_json_bytes(request, BODY_BYTES)))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            answers = await how(conn, asked.which, asked.order)
        letters = [
            {
                "id": str(item.id),
                "channel": item.channel,
                "answer": item.answer.name.lower(),
                "detail": item.answer,
            }
            for item in answers
        ]
        return private({"dry_run": asked.dry_run, "dead_letters": letters})


def private(body: dict[str, Any]) -> Response:
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


def shown(letter: DeadLetter) -> dict[str, Any]:
    return {name: plain(value) for name, value in asdict(letter).items()}


def plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            return value


def make_cursor(letter: DeadLetter) -> str:
    return base64.urlsafe_b64encode(f"{letter.failed_at.isoformat()} {letter.id}".encode()).decode()


def parse_cursor(text: str) -> Place:
    """Raises ProblemError for what make_cursor has not made."""
    try:
        moment, _, identity = base64.urlsafe_b64decode(text).decode().partition(" ")
        place = Place(datetime.fromisoformat(moment), UUID(identity))
    except (binascii.Error, ValueError):
        place = None
    if place is None or place.failed_at.tzinfo is None:
        raise refused(InvalidNotificationError("cursor", "is none of a list's next_cursor"))
    return place
