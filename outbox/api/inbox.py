"""The routes of /v1/users/{user_id}/inbox: what a user was told in-app, page by page; counted; read and archived.

What is changed here is told to the user's open sockets, as what is changed there is seen here.
"""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from db import inbox, inbox_changes, inbox_pages
from db.inbox import Counters
from db.inbox_changes import MAX_SEQS, Applied, Change, Listed, Mark, UpTo
from db.inbox_pages import Kind
from db.pool import Executor, Pool
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.contract import Contract, Endpoint, Handler
from outbox.api.notifications import ACQUIRE_SECONDS, PrettyResponse
from outbox.api.reading import read
from outbox.api.users import USER, user_of
from outbox.envelope import whole
from outbox.inbox import InboxItem
from outbox.inbox_hints import publish
from outbox.nodes import Nodes
from outbox.settings import Settings
from outbox.tokens import Scope

BODY_BYTES = 64 * 1024
LOOK = 2000  # how far one page looks for items that fit
LAST = 2**53 - 1  # what JSON can say everywhere (RFC 7493 §2.2); a seq is far from it
READERS = (Scope.USER, Scope.PRODUCER)
NO_STORE = {"Cache-Control": "no-store"}

Seq = Annotated[int, Field(ge=0, le=LAST, strict=True), BeforeValidator(whole)]


class Search(BaseModel):
    """GET …/inbox. The cursor is a seq: items below it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int, Field(ge=1, le=500, description="At most so many.")] = 50
    cursor: Annotated[int, Field(ge=1, le=LAST)] | None = Field(
        None, description="Items older than the one with this seq; next_cursor of the page before."
    )
    unread: bool | None = Field(None, description="true: only unread ones; false: only read ones.")
    archived: bool = Field(False, description="true: only archived ones, instead of those that are not.")


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Items(Body):
    """Some items, by their seq or by their notification's id. What the user has no item of is left out."""

    seqs: Annotated[list[Seq], Field(min_length=1, max_length=MAX_SEQS)] | None = None
    ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_SEQS)] | None = None

    @model_validator(mode="after")
    def one_of_both(self) -> Self:
        if (self.seqs is None) == (self.ids is None):
            raise ValueError("give either seqs or ids")
        return self

    async def change(self, conn: Executor, user_id: str, mark: Mark) -> Change:
        found = await inbox_pages.seqs(conn, user_id, self.ids) if self.ids else self.seqs
        return Listed(mark, found or [])


class All(Body):
    """Everything up to an item that the user has seen, so that what comes meanwhile stays as it is."""

    up_to: Seq | None = Field(None, description="The seq of the newest item that was shown; left out: all.")


class Counted(BaseModel):
    """`version` grows with every change: of two counts the one with the higher version is right."""

    unread: int
    total: int = Field(description="Items that there are, archived ones among them.")
    version: int
    last_seq: int


class InboxPage(BaseModel):
    items: list[InboxItem]
    next_cursor: str | None
    unread: int
    version: int
    last_seq: int


class Marked(BaseModel):
    """The counters as they are now. `changed`: whether anything was not so before."""

    changed: bool
    unread: int
    version: int
    last_seq: int


LIST = Contract("list_inbox", "A page of a user's inbox", {200: InboxPage}, READERS, own=True, query=Search)
COUNT = Contract("count_inbox", "A user's exact counts", {200: Counted}, READERS, own=True)
# What the path ends in, what becomes of the items, and what they are called in the document.
LISTED = {
    "read": (Mark.READ, "mark_read", "Mark items read"),
    "unread": (Mark.UNREAD, "mark_unread", "Mark items unread again"),
    "archive": (Mark.ARCHIVED, "archive", "Archive items"),
    "unarchive": (Mark.UNARCHIVED, "unarchive", "Take items out of the archive"),
}
UP_TO = {
    "read-all": (Mark.READ, "mark_all_read", "Mark everything read"),
    "archive-all": (Mark.ARCHIVED, "archive_all", "Archive everything"),
}


class Inbox:
    """The handlers, and what they share. Without Redis, or while it is away, sockets hear of a change by their
    gateway's own look at the counters."""

    def __init__(self, settings: Settings, pool: Pool, nodes: Nodes | None) -> None:
        self.settings, self.pool, self.nodes = settings, pool, nodes

    def routes(self) -> list[Endpoint]:
        path = f"{USER}/inbox"
        return [
            Endpoint("GET", path, self.list, LIST),
            Endpoint("GET", f"{path}/count", self.count, COUNT),
            *(
                Endpoint("POST", f"{path}:{verb}", self.marking(mark), marks(id_, summary, Items))
                for verb, (mark, id_, summary) in LISTED.items()
            ),
            *(
                Endpoint("POST", f"{path}:{verb}", self.marking_all(mark), marks(id_, summary, All))
                for verb, (mark, id_, summary) in UP_TO.items()
            ),
        ]

    async def list(self, request: Request) -> Response:
        """Newest first. One request looks through no more than 2,000 items: where few of them fit, a page may hold less
        than `limit`, or nothing, and still have a `next_cursor`. The counters are of the same moment as the items."""
        user_id, search = user_of(request), read(Search, dict(request.query_params))
        kind = Kind(search.archived, search.unread)
        async with (
            self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn,
            conn.transaction(isolation="repeatable_read", readonly=True),
        ):
            counters = await inbox.counters(conn, user_id)
            span = span_of(search.cursor, counters.last_seq)
            items = await inbox_pages.below(conn, user_id, span, kind, search.limit + 1)
            oldest = await inbox_pages.oldest(conn, user_id)
        page = [item.model_dump(mode="json") for item in items[: search.limit]]
        body = {"items": page, "next_cursor": next_cursor(items, search.limit, span, oldest)}
        return PrettyResponse(body | told(counters), headers=NO_STORE)

    async def count(self, request: Request) -> Response:
        user_id = user_of(request)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            counts = await inbox_pages.counts(conn, user_id)
        return PrettyResponse(told(counts.counters) | {"total": counts.total}, headers=NO_STORE)

    def marking(self, mark: Mark) -> Handler:
        async def handler(request: Request) -> Response:
            user_id = user_of(request)
            items = read(Items, parse_object(await read_json_bytes(request, BODY_BYTES)))
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
                change = await items.change(conn, user_id, mark)
                applied = await inbox_changes.apply(conn, user_id, change)
            return self.answer(user_id, applied)

        return described(handler)

    def marking_all(self, mark: Any) -> Handler:
        async def handler(request: Request) -> Response:
            user_id = user_of(request)
            asked = read(All, parse_object(await read_json_bytes(request, BODY_BYTES)))
            change = UpTo(mark, LAST if asked.up_to is None else asked.up_to)
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
                applied = await inbox_changes.apply(conn, user_id, change)
            return self.answer(user_id, applied)

        return described(handler)

    def answer(self, user_id: str, applied: Applied) -> Response:
        """The sockets are told behind the answer's back: nobody waits for a Redis that does not answer."""
        task = None
        if applied.hint and self.nodes:
            task = BackgroundTask(publish, self.nodes, self.settings.keys, user_id, applied.hint)
        body = {"changed": applied.hint is not None} | told(applied.counters)
        return PrettyResponse(body, headers=NO_STORE, background=task)


def marks(id_: str, summary: str, body: type[Body]) -> Contract:
    return Contract(id_, summary, {200: Marked}, READERS, own=True, body=body)


def described(handler: Handler) -> Handler:
    handler.__doc__ = "One transaction, exact counts, safe to repeat; the user's other sockets are told."
    return handler


def told(counters: Counters) -> dict[str, Any]:
    return {"unread": counters.unread, "version": counters.version, "last_seq": counters.last_seq}


def span_of(cursor: int | None, last_seq: int) -> tuple[int, int]:
    """Where one page looks: above the first, below the second. Seqs are dense, so that is a number of items."""
    ceiling = last_seq + 1 if cursor is None else min(cursor, last_seq + 1)
    return max(0, ceiling - 1 - LOOK), ceiling


def next_cursor(items: list[InboxItem], limit: int, span: tuple[int, int], oldest: int | None) -> str | None:
    """Below the last one shown, or else below all that was looked at. None where there is nothing."""
    if len(items) > limit:
        return str(items[limit - 1].seq)
    return str(span[0] + 1) if oldest is not None and oldest <= span[0] else None
