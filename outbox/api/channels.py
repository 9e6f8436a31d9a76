"""The routes of /v1/channels: channels are rows, and workers notice within a second what has changed."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import asyncpg
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from db import channels
from db.channels import Change, Channel, NewChannel
from db.pool import Pool
from outbox.api import preconditions
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.contract import Contract, Endpoint, caller
from outbox.api.notifications import ACQUIRE_SECONDS, PrettyResponse
from outbox.api.openapi.schemas import nothing_null
from outbox.api.preconditions import IF_MATCH, wanted_version
from outbox.api.problems import ProblemError, refused
from outbox.api.reading import read
from outbox.audit import record
from outbox.channel_config import broken_rules, without_secrets
from outbox.envelope import ChannelName, whole
from outbox.errors import InvalidNotificationError
from outbox.settings import Settings
from outbox.tokens import Scope

BODY_BYTES = 64 * 1024
CONFIG_DEPTH = 8
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
Attempts = Annotated[int, Field(ge=1, le=100), BeforeValidator(whole)]


def no_boolean(value: Any) -> Any:
    """True is 1 to Python, and so to a literal."""
    if isinstance(value, bool):
        raise ValueError("should be 1, 2, 4, 8, 16, 32 or 64")
    return whole(value)


# Into how many streams each lane is cut, by user.
Shards = Annotated[Literal[1, 2, 4, 8, 16, 32, 64], BeforeValidator(no_boolean)]
OnUnknown = Literal["resend", "hold", "ask"]
ASKABLE = frozenset({"sms"})  # the kinds whose providers tell afterwards what became of a message


class Body(BaseModel):
    """What both requests may hold. Strict: "true" is no boolean."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Added(Body):
    """POST /v1/channels."""

    name: ChannelName
    # Of every other kind there is the one channel that the schema brings.
    kind: Literal["webhook"] = "webhook"
    config: dict[str, Any] = {}
    enabled: bool = True
    max_attempts: Attempts = 8
    on_unknown: Literal["resend", "hold"] = "resend"
    shards: Shards = 1


class Changed(Body):
    """PATCH /v1/channels/{name}: a config is given whole, and what is to stay is left out."""

    model_config = ConfigDict(json_schema_extra=nothing_null)

    config: dict[str, Any] | None = None
    enabled: bool | None = None
    max_attempts: Attempts | None = None
    on_unknown: OnUnknown | None = None
    shards: Shards | None = None


class Shown(BaseModel):
    """A channel. Secrets in its config are left out."""

    name: str
    kind: str
    enabled: bool
    config: dict[str, Any]
    max_attempts: int
    on_unknown: OnUnknown
    shards: Shards
    version: int
    updated_at: AwareDatetime


class Listed(BaseModel):
    channels: list[Shown]


ADMIN = (Scope.ADMIN,)
ETAG = {"ETag": "Its version, for If-Match."}
ITS_NAME = {"name": "$response.body#/name"}
SEEN = {"name": "$request.path.name", "If-Match": "$response.header.ETag"}
ADD = Contract(
    *("add_channel", "Add a channel", {201: Shown}, ADMIN),
    body=Added,
    problems=(409,),
    sends=ETAG | {"Location": "Where it is."},
    links={"show_channel": ITS_NAME, "remove_channel": ITS_NAME | {"If-Match": "$response.header.ETag"}},
)
LIST = Contract("list_channels", "List channels", {200: Listed}, ADMIN)
SHOW = Contract(
    *("show_channel", "Show a channel", {200: Shown}, ADMIN),
    problems=(404,),
    sends=ETAG,
    links={"change_channel": SEEN, "remove_channel": SEEN},
)
CHANGE = Contract(
    *("change_channel", "Change, enable or disable a channel", {200: Shown}, ADMIN),
    body=Changed,
    headers=IF_MATCH,
    problems=(404, 412, 428),
    sends=ETAG,
)
REMOVE = Contract(
    *("remove_channel", "Remove a channel that nothing was sent to", {204: None}, ADMIN),
    headers=IF_MATCH,
    problems=(404, 409, 412, 428),
)


class Channels:
    """The handlers, and what they share: the settings and the service's pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/v1/channels", self.add, ADD),
            Endpoint("GET", "/v1/channels", self.list, LIST),
            Endpoint("GET", "/v1/channels/{name}", self.show, SHOW),
            Endpoint("PATCH", "/v1/channels/{name}", self.change, CHANGE),
            Endpoint("DELETE", "/v1/channels/{name}", self.remove, REMOVE),
        ]

    async def add(self, request: Request) -> Response:
        """Of kind webhook: of every other there is the one that the schema brings. Workers notice within a second."""
        body = read(Added, parse_object(await read_json_bytes(request, BODY_BYTES)))
        check_config(body.kind, body.config)
        check_order(body.config, body.shards)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            added = await channels.add(conn, NewChannel(**body.model_dump()))
            if added:
                await record(conn, caller(request), "channel.add", added.name, {"after": told(added)})
        if added is None:
            raise ProblemError(
                409, "channel-exists", f"There is a channel {body.name} already; PATCH changes it."
            )
        location = f"{self.settings.public_api_url}/v1/channels/{added.name}"
        return shown(added, 201, {"Location": location})

    async def list(self, request: Request) -> Response:
        """Enabled or not. Secrets in their configs are left out."""
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            every = await channels.all_channels(conn)
        return PrettyResponse({"channels": [described(channel) for channel in every]})

    async def show(self, request: Request) -> Response:
        return shown(await self.find(request.path_params["name"]))

    async def change(self, request: Request) -> Response:
        """What is left out stays as it is; a config is given whole."""
        name, version = request.path_params["name"], wanted_version(request)
        document = parse_object(await read_json_bytes(request, BODY_BYTES))
        refuse_null(document)
        body = read(Changed, document)
        found = await self.find(name)
        if body.config is not None:
            check_config(found.kind, body.config)
        if body.on_unknown == "ask" and found.kind not in ASKABLE:
            raise refused(InvalidNotificationError("on_unknown", f"{found.kind} has nobody to ask"))
        if body.shards is not None or body.config is not None:
            check_order(body.config or found.config, body.shards or found.shards)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            changed = await channels.change(conn, Change(name, version, **body.model_dump()))
            if changed:
                detail = {"before": told(found), "after": told(changed)}
                await record(conn, caller(request), "channel.change", name, detail)
        if changed is None:
            raise changed_meanwhile(found)
        return shown(changed)

    async def remove(self, request: Request) -> Response:
        """Only what nothing was sent to: 409 otherwise. Producers are kept waiting for half a second at most."""
        name, version = request.path_params["name"], wanted_version(request)
        found = await self.find(name)
        try:
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
                if removed := await channels.remove(conn, name, version):
                    await record(conn, caller(request), "channel.remove", name, {"before": told(found)})
        except asyncpg.RestrictViolationError as error:
            raise ProblemError(409, "channel-in-use", f"{error}. {error.hint or ''}".strip()) from None
        except asyncpg.LockNotAvailableError:
            busy = "Producers are writing all the time; try again in a moment."
            raise ProblemError(503, "busy", busy, headers={"Retry-After": "2"}) from None
        if not removed:
            raise changed_meanwhile(found)
        return Response(status_code=204)

    async def find(self, name: str) -> Channel:
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            found = await channels.channel(conn, name) if not UNSTORABLE.search(name) else None
        if found is None:
            raise ProblemError(404, "not-found", "There is no such channel; GET /v1/channels lists them.")
        return found


def refuse_null(document: dict[str, Any]) -> None:
    if nulls := [key for key, value in document.items() if value is None]:
        raise refused(*(InvalidNotificationError(key, "must not be null; leave it out") for key in nulls))


def check_config(kind: str, config: dict[str, Any]) -> None:
    """Raises ProblemError, 422."""
    if (odd := unstorable(config, CONFIG_DEPTH)) is not None:
        raise refused(InvalidNotificationError("config", odd))
    if broken := broken_rules(kind, config):
        raise refused(*broken)


def check_order(config: Mapping[str, Any], shards: int) -> None:
    """Raises ProblemError, 422."""
    if config.get("ordered") is True and shards > 1:
        raise refused(
            InvalidNotificationError(
                "shards", "must be 1 where config.ordered is true: the order is a stream's"
            )
        )


def unstorable(value: Any, depth: int) -> str | None:
    """Why jsonb, or a person, could not hold it."""
    if depth < 0:
        return f"must not be nested deeper than {CONFIG_DEPTH} levels"
    match value:
        case str() if UNSTORABLE.search(value):
            return "must not contain NUL characters or unpaired surrogates"
        case dict():
            parts = [*value.keys(), *value.values()]
        case list():
            parts = value
        case _:
            return None
    return next((why for part in parts if (why := unstorable(part, depth - 1)) is not None), None)


def changed_meanwhile(found: Channel) -> ProblemError:
    return preconditions.changed_meanwhile(f"Channel {found.name}")


def shown(channel: Channel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    tagged = {"ETag": f'"{channel.version}"', "Cache-Control": "no-store"} | (headers or {})
    return PrettyResponse(described(channel), status, headers=tagged)


def told(channel: Channel) -> dict[str, Any]:
    """As the audit log has it."""
    return {name: value for name, value in described(channel).items() if name not in {"name", "updated_at"}}


def described(channel: Channel) -> dict[str, Any]:
    return {
        "name": channel.name,
        "kind": channel.kind,
        "enabled": channel.enabled,
        "config": without_secrets(channel.config),
        "max_attempts": channel.max_attempts,
        "on_unknown": channel.on_unknown,
        "shards": channel.shards,
        "version": channel.version,
        "updated_at": channel.updated_at.isoformat(),
    }
