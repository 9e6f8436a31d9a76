"""The routes of /v1/api-keys: keys of programs, made, looked at, changed and revoked by administrators."""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from db import keys
from db.keys import ApiKey, Terms
from db.pool import Pool
from outbox.api import preconditions
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.contract import Contract, Endpoint, caller
from outbox.api.keyring import Keyring
from outbox.api.notifications import ACQUIRE_SECONDS, PrettyResponse
from outbox.api.problems import ProblemError
from outbox.api.reading import read
from outbox.api_keys import make
from outbox.audit import printable as as_actor
from outbox.audit import record
from outbox.envelope import ChannelName, Printable, distinct
from outbox.restraints import Pattern
from outbox.setting_values import RATE
from outbox.settings import Settings
from outbox.tokens import Scope

BODY_BYTES = 64 * 1024
ID = r"^[0-9A-Za-z]{12}$"


def in_future(value: datetime) -> datetime:
    if value <= datetime.now(UTC):
        raise ValueError("must lie in the future")
    return value


def narrow(scopes: list[str], *limits: object) -> None:
    """Limits hold a producer; an administrator's key could undo its own."""
    if any(limit is not None for limit in limits) and scopes != ["producer"]:
        raise ValueError("event_types and channels limit a producer: scopes must be [producer] with them")


KeyScope = Literal["producer", "bounces", "admin"]
Name = Annotated[Printable, Field(max_length=100)]
Scopes = Annotated[list[KeyScope], Field(min_length=1, max_length=3), AfterValidator(distinct)]
EventTypes = Annotated[list[Pattern], Field(min_length=1, max_length=50), AfterValidator(distinct)]
ChannelNames = Annotated[list[ChannelName], Field(min_length=1, max_length=50), AfterValidator(distinct)]
# A rate is the key's own, so an empty one makes no sense: null is none.
KeyRate = Annotated[str, Field(min_length=1, pattern=RATE, description="Like 600/minute.")]
End = Annotated[AwareDatetime, AfterValidator(in_future)]


class Wanted(BaseModel):
    """A key to be. Null: any event type, any channel, the rate of all producers, no end."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    scopes: Scopes
    event_types: EventTypes | None = None
    channels: ChannelNames | None = None
    rate: KeyRate | None = None
    expires_at: End | None = None

    @model_validator(mode="after")
    def limits_are_a_producer_s(self) -> Self:
        narrow(list(self.scopes), self.event_types, self.channels)
        return self


class Changed(BaseModel):
    """What is to be different; null takes a limit away."""

    model_config = ConfigDict(extra="forbid")

    name: Name = ""
    scopes: Scopes = ["producer"]
    event_types: EventTypes | None = None
    channels: ChannelNames | None = None
    rate: KeyRate | None = None
    expires_at: End | None = None


class Shown(BaseModel):
    """A key, but for its secret, which nobody has."""

    id: str
    name: str
    scopes: list[KeyScope]
    event_types: list[str] | None
    channels: list[str] | None
    rate: str | None
    created_by: str
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    last_used_at: AwareDatetime | None
    version: int


class Made(Shown):
    """A new key. `key` is shown this once."""

    key: str


class Place(BaseModel):
    """Which key, by its path."""

    id: Annotated[str, Field(pattern=ID)]


class Listing(BaseModel):
    """The query of a list. `over`: those revoked or expired, too."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[str, Field(pattern=ID)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    over: bool = False


class Listed(BaseModel):
    api_keys: list[Shown]
    next_cursor: str | None


ADMIN = (Scope.ADMIN,)
ETAG = {"ETag": "Its version, for If-Match."}
MAKE = Contract(
    *("make_api_key", "Make an API key", {201: Made}, ADMIN),
    body=Wanted,
    sends=ETAG | {"Location": "Where it is."},
)
LIST = Contract("list_api_keys", "List API keys", {200: Listed}, ADMIN, query=Listing)
SHOW = Contract(
    "show_api_key", "Show an API key", {200: Shown}, ADMIN, path=Place, problems=(404,), sends=ETAG
)
CHANGE = Contract(
    *("change_api_key", "Change an API key", {200: Shown}, ADMIN),
    path=Place,
    sends=ETAG,
    body=Changed,
    headers=preconditions.IF_MATCH,
    problems=(404, 409, 412, 428),
)
REVOKE = Contract("revoke_api_key", "Revoke an API key", {204: None}, ADMIN, path=Place, problems=(404,))


class ApiKeys:
    """The handlers, and what they share."""

    def __init__(self, settings: Settings, pool: Pool, keyring: Keyring) -> None:
        self.settings, self.pool, self.keyring = settings, pool, keyring

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/v1/api-keys", self.make, MAKE),
            Endpoint("GET", "/v1/api-keys", self.list, LIST),
            Endpoint("GET", "/v1/api-keys/{id}", self.show, SHOW),
            Endpoint("PATCH", "/v1/api-keys/{id}", self.change, CHANGE),
            Endpoint("DELETE", "/v1/api-keys/{id}", self.revoke, REVOKE),
        ]

    async def make(self, request: Request) -> Response:
        """The key itself is in this answer and nowhere else: keep it as you would a password."""
        wanted = read(Wanted, parse_object(await read_json_bytes(request, BODY_BYTES)))
        new, who = make(), caller(request)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            made = await keys.add(conn, new.id, new.hash, Terms(**dict(wanted)), as_actor(who.subject, 200))
            await record(conn, who, "key.make", made.id, {"after": told(made)})
        location = {"Location": f"{self.settings.public_api_url}/v1/api-keys/{made.id}"}
        return answer(made, 201, location, {"key": new.text})

    async def list(self, request: Request) -> Response:
        """Newest first."""
        query = read(Listing, dict(request.query_params))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            found = await keys.page(conn, query.cursor, query.limit + 1, over=query.over)
        page = found[: query.limit]
        cursor = page[-1].id if len(found) > query.limit else None
        body = {"api_keys": [described(key) for key in page], "next_cursor": cursor}
        return PrettyResponse(body, headers={"Cache-Control": "no-store"})

    async def show(self, request: Request) -> Response:
        return answer(await self.find(request.path_params["id"]))

    async def change(self, request: Request) -> Response:
        """Other processes go by what was before for five seconds more at most."""
        wanted = preconditions.wanted_version(request)
        body = read(Changed, parse_object(await read_json_bytes(request, BODY_BYTES)))
        found = await self.find(request.path_params["id"])
        if found.revoked_at:
            raise ProblemError(409, "key-revoked", f"Key {found.id} was revoked, which is for good.")
        terms = merged(found, body)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            changed = await keys.change(conn, found.id, wanted or found.version, terms)
            if changed:
                detail = {"before": told(found), "after": told(changed)}
                await record(conn, caller(request), "key.change", found.id, detail)
        if changed is None:
            raise preconditions.changed_meanwhile(f"Key {found.id}")
        self.keyring.forget(found.id)
        return answer(changed)

    async def revoke(self, request: Request) -> Response:
        """For good. Safe to repeat. Other processes refuse it within five seconds."""
        found = await self.find(request.path_params["id"])
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            revoked = await keys.revoke(conn, found.id)
            await record(conn, caller(request), "key.revoke", found.id, {"again": revoked is None})
        self.keyring.forget(found.id)
        return Response(status_code=204)

    async def find(self, id_: str) -> ApiKey:
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            found = await keys.key(conn, id_) if id_.isascii() and id_.isalnum() else None
        if found is None:
            raise ProblemError(404, "not-found", "There is no such key; GET /v1/api-keys lists them.")
        return found


def merged(found: ApiKey, body: Changed) -> Terms:
    """The terms with what the body names changed. Raises ProblemError, 422."""
    before = Terms(found.name, found.scopes, found.event_types, found.channels, found.rate, found.expires_at)
    terms = replace(before, **{name: getattr(body, name) for name in body.model_fields_set})
    facts = asdict(terms)
    if "expires_at" not in body.model_fields_set:  # one that is over may be given another name
        facts.pop("expires_at")
    read(Wanted, facts)
    return terms


def told(key: ApiKey) -> dict[str, Any]:
    """As the audit log has it."""
    terms = ("name", "scopes", "event_types", "channels", "rate", "expires_at", "version")
    return {name: value for name, value in described(key).items() if name in terms}


def answer(
    key: ApiKey, status: int = 200, headers: dict[str, str] | None = None, more: dict[str, str] | None = None
) -> Response:
    tagged = {"ETag": f'"{key.version}"', "Cache-Control": "no-store"} | (headers or {})
    return PrettyResponse(described(key) | (more or {}), status, headers=tagged)


def described(key: ApiKey) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(key).items()
    }
