"""The routes of /v1/recipients: how somebody is reached, and when they want to be left alone."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from db import recipients
from db.pool import Executor, Pool
from db.recipients import Facts, Kept
from outbox import audit
from outbox.api import preconditions
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.contract import Contract, Endpoint, administers, caller
from outbox.api.notifications import ACQUIRE_SECONDS, PrettyResponse
from outbox.api.paging import Page, make_cursor, parse_cursor
from outbox.api.preconditions import ETAG, HEADERS, check, etag
from outbox.api.preferences import tidy
from outbox.api.problems import ProblemError
from outbox.api.reading import read
from outbox.api.users import user_of
from outbox.envelope import printable
from outbox.restraints import QuietHours, Zone
from outbox.settings import Settings
from outbox.tokens import Scope

BODY_BYTES = 16 * 1024
PATH = "/v1/recipients/{user_id:path}"
NO_STORE = {"Cache-Control": "no-store"}
CONTACT = frozenset({"email", "phone", "locale", "time_zone"})

# As notify.recipients has them.
Email = Annotated[
    str,
    Field(max_length=320, pattern=r"^[^\s@]+@[^\s@]+$", description="An address."),
    AfterValidator(printable),
]
Phone = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="E.164: +491701234567.")]
Locale = Annotated[
    str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=64, description="BCP 47: de-AT.")
]


class Contact(BaseModel):
    """What may be known of somebody. null: not known, or none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    email: Email | None = None
    phone: Phone | None = None
    locale: Locale | None = None
    time_zone: Zone | None = Field(None, description="Of the IANA database: Europe/Vienna.")
    quiet_hours: QuietHours | None = Field(
        None,
        description="When nothing but urgent ones is sent, by the recipient's own clock; not for in-app.",
    )

    @property
    def given(self) -> dict[str, Any]:
        """Only what was said, as the table has it."""
        return tidy(self.model_dump(mode="json", by_alias=True, exclude_unset=True))


class Shown(Contact):
    """A recipient."""

    user_id: str
    updated_at: AwareDatetime


class Listed(BaseModel):
    recipients: list[Shown]
    next_cursor: str | None


SERVICES = (Scope.PRODUCER, Scope.ADMIN)
LIST = Contract("list_recipients", "List recipients", {200: Listed}, SERVICES, query=Page)
SHOW = Contract(
    *("show_recipient", "Show a recipient", {200: Shown}, (Scope.USER, *SERVICES)),
    own=True,
    problems=(404,),
    sends=ETAG,
)
PUT = Contract(
    *("put_recipient", "Say all that is known of a recipient", {200: Shown, 201: Shown}, SERVICES),
    body=Contact,
    headers=HEADERS,
    problems=(409, 412),
    sends=ETAG,
)
CHANGE = Contract(
    *("change_recipient", "Change some of what is known of a recipient", {200: Shown}, SERVICES),
    body=Contact,
    headers={"If-Match": HEADERS["If-Match"]},
    problems=(404, 409, 412),
    sends=ETAG,
)
REMOVE = Contract(
    *("remove_recipient", "Forget how a recipient is reached", {204: None}, SERVICES),
    headers={"If-Match": HEADERS["If-Match"]},
    problems=(412,),
)


class Recipients:
    """The handlers, and what they share: the service's pool, and where recipients are kept."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings = settings
        self.pool = pool
        # The setting that says where recipients are kept, if it is not here.
        self.elsewhere = (
            "OUTBOX_RECIPIENT_QUERY"
            if settings.recipient_query
            else "OUTBOX_RECIPIENT_URL"
            if settings.recipient_url
            else None
        )

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/v1/recipients", self.list, LIST),
            Endpoint("GET", PATH, self.show, SHOW),
            Endpoint("PUT", PATH, self.put, PUT),
            Endpoint("PATCH", PATH, self.change, CHANGE),
            Endpoint("DELETE", PATH, self.remove, REMOVE),
        ]

    async def list(self, request: Request) -> Response:
        """In order of their ids."""
        page = read(Page, dict(request.query_params))
        after = parse_cursor(page.cursor, printable) if page.cursor else ""
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            found = await recipients.page(conn, after, page.limit + 1)
        cursor = make_cursor(found[page.limit - 1].user_id) if len(found) > page.limit else None
        body = {"recipients": [described(one) for one in found[: page.limit]], "next_cursor": cursor}
        return PrettyResponse(body, headers=NO_STORE)

    async def show(self, request: Request) -> Response:
        user_id = user_of(request)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            kept = await recipients.one(conn, user_id)
        return shown(found_or_404(kept))

    async def put(self, request: Request) -> Response:
        """What is left out is not known any more. Repeating it changes nothing, so it needs no If-Match where the
        caller's own data are the truth."""
        user_id = user_of(request)
        contact = read(Contact, parse_object(await read_json_bytes(request, BODY_BYTES)))
        self.refuse_elsewhere(contact)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            before = await recipients.lock(conn, user_id)
            check(request, tag(before))
            kept = await self.written(conn, request, user_id, self.facts(contact, before))
            await self.note(conn, request, "put", changes(before, kept))
        return shown(kept, 200 if before else 201)

    def facts(self, contact: Contact, before: Kept | None) -> Facts:
        """All that is known from now on: what is kept elsewhere stays as the workers were told."""
        known = asdict(before.facts) if before and self.elsewhere else {}
        return Facts(**known | {"quiet_hours": None} | contact.given)

    async def written(self, conn: Executor, request: Request, user_id: str, facts: Facts) -> Kept:
        """Somebody else may have written the first one since it was looked for."""
        if not preconditions.only_new(request):
            return await recipients.put(conn, user_id, facts)
        if (added := await recipients.add(conn, user_id, facts)) is None:
            raise ProblemError(412, "precondition-failed", "There is one already, and If-None-Match is *.")
        return added

    async def change(self, request: Request) -> Response:
        """What is left out stays; null: not known any more (RFC 7396)."""
        user_id = user_of(request)
        contact = read(Contact, parse_object(await read_json_bytes(request, BODY_BYTES)))
        self.refuse_elsewhere(contact)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            before = found_or_404(await recipients.lock(conn, user_id))
            check(request, tag(before))
            kept = await recipients.put(conn, user_id, Facts(**asdict(before.facts) | contact.given))
            await self.note(conn, request, "change", changes(before, kept))
        return shown(kept)

    async def remove(self, request: Request) -> Response:
        """204 whether it was there or not. Preferences, devices and the inbox stay."""
        user_id = user_of(request)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            before = await recipients.lock(conn, user_id)
            check(request, tag(before))
            await recipients.remove(conn, user_id)
            await self.note(conn, request, "remove", changes(before, None))
        return Response(status_code=204)

    async def note(self, conn: Executor, request: Request, act: str, changed: Sequence[str]) -> None:
        """What an administrator did. Producers keep recipients in step with their own data all day long."""
        if administers(caller(request)):
            target = audit.pseudonym(self.settings, user_of(request))
            await audit.record(conn, caller(request), f"recipient.{act}", target, {"changed": changed})

    def refuse_elsewhere(self, contact: Contact) -> None:
        """What the workers ask for elsewhere they would overwrite here within a minute. Raises ProblemError, 409."""
        if self.elsewhere and (named := sorted(CONTACT & contact.model_fields_set)):
            where = f"as {self.elsewhere} says: change that there, and only quiet_hours here."
            detail = f"{', '.join(named)} of recipients are kept elsewhere, {where}"
            raise ProblemError(409, "kept-elsewhere", detail)


def found_or_404(kept: Kept | None) -> Kept:
    if kept is None:
        raise ProblemError(404, "not-found", "Nothing is known of how this user is reached; PUT says it.")
    return kept


def changes(before: Kept | None, after: Kept | None) -> list[str]:
    """The facts that are others now. Which, and not what they are: the audit log outlives the person's data."""
    old, new = (asdict(kept.facts) if kept else {} for kept in (before, after))
    return sorted(name for name in old | new if old.get(name) != new.get(name))


def tag(kept: Kept | None) -> str | None:
    return etag(asdict(kept.facts)) if kept else None


def shown(kept: Kept, status: int = 200) -> Response:
    headers = NO_STORE | {"ETag": etag(asdict(kept.facts))}
    return PrettyResponse(described(kept), status, headers=headers)


def described(kept: Kept) -> dict[str, Any]:
    return {"user_id": kept.user_id, **asdict(kept.facts), "updated_at": kept.updated_at.isoformat()}
