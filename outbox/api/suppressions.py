"""The routes of /v1/suppressions: addresses that nothing is sent to, why, and since when."""

import re
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from db import suppressions
from db.pool import Executor, Pool
from db.suppressions import Listed, Suppression
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.contract import Contract, Endpoint, caller
from outbox.api.notifications import ACQUIRE_SECONDS, PrettyResponse
from outbox.api.paging import Page, make_cursor, parse_cursor
from outbox.api.problems import ProblemError, refused
from outbox.api.reading import read
from outbox.audit import pseudonym, record
from outbox.envelope import PRINTABLE, ChannelName, printable
from outbox.errors import InvalidNotificationError
from outbox.settings import Settings
from outbox.tokens import Scope

BODY_BYTES = 16 * 1024
NO_STORE = {"Cache-Control": "no-store"}
# Of the kinds whose claims look at the list (db/sql/delivery.sql).
ADDRESSES = {
    "email": (re.compile(r"[^\s@]+@[^\s@]+"), "must be an e-mail address"),
    "sms": (re.compile(r"\+[1-9][0-9]{6,14}"), "must be a number like +491701234567 (E.164)"),
}

Address = Annotated[
    str,
    StringConstraints(min_length=1, max_length=320, strip_whitespace=True),
    Field(json_schema_extra={"pattern": PRINTABLE}),
    AfterValidator(printable),
]
Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="Shown on timelines: no personal data.",
        json_schema_extra={"pattern": PRINTABLE},
    ),
    AfterValidator(printable),
]


class Search(Page):
    """GET /v1/suppressions."""

    channel: ChannelName | None = None
    address: Address | None = Field(None, description="Just this one, in upper or lower case.")


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Given(Body):
    """An address of a channel of kind email or sms."""

    channel: ChannelName
    address: Address
    reason: Reason


class Which(Body):
    """By what it is known."""

    channel: ChannelName
    address: Address


class Shown(BaseModel):
    """An address that nothing is sent to, in lower case."""

    channel: str
    address: str
    reason: str
    created_at: AwareDatetime


class Found(BaseModel):
    suppressions: list[Shown]
    next_cursor: str | None


class Removed(BaseModel):
    """What was there; null where nothing was."""

    removed: Shown | None


ADMIN = (Scope.ADMIN,)
LIST = Contract("list_suppressions", "List suppressed addresses", {200: Found}, ADMIN, query=Search)
ADD = Contract("add_suppression", "Send nothing to an address", {200: Shown, 201: Shown}, ADMIN, body=Given)
REMOVE = Contract("remove_suppression", "Send to an address again", {200: Removed}, ADMIN, body=Which)


class Suppressions:
    """The handlers, and what they share: the settings and the service's pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/v1/suppressions", self.list, LIST),
            Endpoint("POST", "/v1/suppressions", self.add, ADD),
            # With the address in the body: what stands in a URL ends up in logs.
            Endpoint("POST", "/v1/suppressions:remove", self.remove, REMOVE),
        ]

    async def list(self, request: Request) -> Response:
        """In order of channel and address."""
        search = read(Search, dict(request.query_params))
        after = parse_cursor(search.cursor, pair) if search.cursor else ("", "")
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            if search.address is not None:
                found = await suppressions.of_address(conn, search.address, search.channel)
            else:
                found = await suppressions.page(conn, search.channel, after, search.limit + 1)
        more = search.address is None and len(found) > search.limit
        shown = found[: search.limit] if more else found
        cursor = make_cursor(shown[-1].channel, shown[-1].address) if more else None
        return answer({"suppressions": [described(one) for one in shown], "next_cursor": cursor})

    async def add(self, request: Request) -> Response:
        """201; 200 where it was there before, and then it keeps its first reason. What is claimed from now on is not
        sent to it."""
        given = read(Given, parse_object(await read_json_bytes(request, BODY_BYTES)))
        wanted = Suppression(**given.model_dump())
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            kind = await suppressions.kind_of(conn, given.channel)
            check_address(given.channel, kind, given.address)
            added = await suppressions.add(conn, wanted)
            there = added or await suppressions.one(conn, given.channel, given.address)
            detail = {"reason": given.reason, "changed": added is not None}
            await self.record(conn, request, "suppression.add", given, detail)
        if there is None:
            raise ProblemError(409, "conflict", "Somebody is removing it at this moment; try again.")
        return answer(described(there), 201 if added else 200)

    async def remove(self, request: Request) -> Response:
        """Repeating it changes nothing. Where the mailbox really is gone, the next bounce puts it on the list again."""
        which = read(Which, parse_object(await read_json_bytes(request, BODY_BYTES)))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            gone = await suppressions.remove(conn, which.channel, which.address)
            detail = {"reason": gone.reason if gone else None, "changed": gone is not None}
            await self.record(conn, request, "suppression.remove", which, detail)
        return answer({"removed": described(gone) if gone else None})

    async def record(
        self, conn: Executor, request: Request, action: str, on: Given | Which, detail: dict[str, Any]
    ) -> None:
        """The address by a name that only those who know it can find."""
        target = f"{on.channel} {pseudonym(self.settings, on.address.lower())}"
        await record(conn, caller(request), action, target, detail)


def check_address(channel: str, kind: str | None, address: str) -> str:
    """The channel's kind, if it is one with addresses and this is one of its. Raises ProblemError, 422."""
    if kind is None:
        raise refused(InvalidNotificationError("channel", f"{channel!r} is not known"))
    if kind not in ADDRESSES:
        why = f"{channel!r} is of kind {kind}: only e-mail and SMS have addresses"
        raise refused(InvalidNotificationError("channel", why))
    pattern, rule = ADDRESSES[kind]
    if not pattern.fullmatch(address):
        raise refused(InvalidNotificationError("address", rule))
    return kind


def pair(channel: str, address: str) -> tuple[str, str]:
    return printable(channel), printable(address)


def answer(body: dict[str, Any], status: int = 200) -> Response:
    return PrettyResponse(body, status, headers=NO_STORE)


def described(one: Listed) -> dict[str, Any]:
    return asdict(one) | {"created_at": one.created_at.isoformat()}
