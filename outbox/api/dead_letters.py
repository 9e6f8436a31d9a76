"""The routes of /v1/dead-letters: what could not be delivered, counted, redriven, discarded."""

import base64
import binascii
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db import dead
from db.dead import DeadLetter, Order, Place
from db.pool import Executor, Pool
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.contract import Contract, Endpoint, caller
from outbox.api.problems import refused
from outbox.api.reading import read, read_strictly
from outbox.audit import record
from outbox.envelope import ChannelName, Moment, Name, StrictMoment, whole
from outbox.errors import InvalidNotificationError
from outbox.settings import Settings
from outbox.tokens import Scope

BODY_BYTES = 64 * 1024
ACQUIRE_SECONDS = 5.0


class Choice(BaseModel):
    """Which letters, by what they have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: ChannelName | None = None
    error_class: Name | None = None
    since: StrictMoment | None = None
    until: StrictMoment | None = None
    notification_id: UUID | None = None

    def filter(self, *, closed: bool = False) -> dead.Filter:
        return dead.Filter(
            self.channel, self.error_class, self.since, self.until, self.notification_id, closed
        )


class Counting(Choice):
    """The same in a query, where everything is text."""

    since: Moment | None = None
    until: Moment | None = None


class Listing(Counting):
    """The query of a list. `closed`: those redriven or discarded, too."""

    closed: bool = False
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: str | None = None


class Treatment(BaseModel):
    """What is to be redriven or discarded: letters by `ids`, or those that a `filter` finds; {} finds all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: Annotated[list[UUID], Field(min_length=1, max_length=1000)] | None = None
    filter: Choice | None = None
    limit: Annotated[int, Field(ge=1, le=10_000), BeforeValidator(whole)] = 1000
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


class Shown(BaseModel):
    """A dead letter. `undecodable`: a stream entry that was no envelope; it has no notification."""

    id: UUID
    notification_id: UUID | None
    event_type: str | None
    channel: str
    error_class: str
    reason: str
    attempts: int
    stream: str | None
    entry_id: str | None
    undecodable: bool
    payload: dict[str, Any] | None
    failed_at: AwareDatetime
    redriven_at: AwareDatetime | None
    discarded_at: AwareDatetime | None


class Listed(BaseModel):
    dead_letters: list[Shown]
    next_cursor: str | None


class Kind(BaseModel):
    channel: str
    error_class: str
    letters: int


class Counted(BaseModel):
    total: int
    kinds: list[Kind]


class Answered(BaseModel):
    """What became of one letter; in a dry run, what would."""

    id: UUID
    channel: str
    answer: Literal[
        "redriven",
        "discarded",
        "undecodable",
        "before",
        "gone",
        "delivered",
        "underway",
        "canceled",
        "expired",
    ]
    detail: str


class Treated(BaseModel):
    dry_run: bool
    dead_letters: list[Answered]


ADMIN = (Scope.ADMIN,)
PATH = "/v1/dead-letters"
LIST = Contract(
    *("list_dead_letters", "List dead letters", {200: Listed}, ADMIN),
    query=Listing,
)
COUNT = Contract("count_dead_letters", "Count dead letters by kind", {200: Counted}, ADMIN, query=Counting)
REDRIVE = Contract(
    "redrive_dead_letters", "Send dead letters on their way again", {200: Treated}, ADMIN, body=Treatment
)
DISCARD = Contract(
    "discard_dead_letters", "Put dead letters out of the lists", {200: Treated}, ADMIN, body=Treatment
)


class DeadLetters:
    """The handlers, and what they share: the settings and the service's pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("GET", PATH, self.list, LIST),
            Endpoint("GET", f"{PATH}:count", self.count, COUNT),
            Endpoint("POST", f"{PATH}:redrive", self.redrive, REDRIVE),
            Endpoint("POST", f"{PATH}:discard", self.discard, DISCARD),
        ]

    async def list(self, request: Request) -> Response:
        """The newest first. A redriven or discarded one is left out, unless `closed` asks for it."""
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
        query = read(Counting, dict(request.query_params))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            kinds = await dead.count_dead(conn, query.filter())
        return private({"total": sum(kind.letters for kind in kinds), "kinds": list(map(asdict, kinds))})

    async def redrive(self, request: Request) -> Response:
        """By `ids`, or those that a `filter` finds, the oldest first. Each is answered; `dry_run` changes nothing."""
        return await self.treat(request, dead.redrive, "dead_letters.redrive")

    async def discard(self, request: Request) -> Response:
        """By `ids`, or those that a `filter` finds, the oldest first. They stay in the table, and are not sent."""
        return await self.treat(request, dead.discard, "dead_letters.discard")

    async def treat(
        self,
        request: Request,
        how: Callable[[Executor, dead.Filter | Sequence[UUID], Order], Awaitable[Sequence[dead.Treated]]],
        action: str,
    ) -> Response:
        asked = read_strictly(Treatment, parse_object(await read_json_bytes(request, BODY_BYTES)))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            answers = await how(conn, asked.which, asked.order)
            outcome = Counter(item.answer.name.lower() for item in answers)
            detail = {"asked": asked.model_dump(mode="json", exclude_none=True), "answers": outcome}
            await record(conn, caller(request), action, "dead letters", detail)
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
