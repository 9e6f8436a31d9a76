"""The routes of /v1/users/{user_id}/preferences: a recipient's wishes, told by himself or by a producer."""

from typing import Annotated, Any, Self

import asyncpg
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db import preferences
from db.pool import Pool
from db.preferences import Preference
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.contract import Contract, Endpoint
from outbox.api.problems import refused
from outbox.api.reading import read_strictly
from outbox.api.users import USER, user_of
from outbox.envelope import ChannelName
from outbox.errors import InvalidNotificationError
from outbox.restraints import Constraints, Pattern
from outbox.settings import Settings
from outbox.tokens import Scope

BODY_BYTES = 256 * 1024
ACQUIRE_SECONDS = 5.0
PATH = f"{USER}/preferences"


class Wish(BaseModel):
    """One preference. The nearest wins: an event type, then the longest category, then `*`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: ChannelName
    event_type: Pattern = "*"
    enabled: bool = True
    constraints: Constraints = Constraints()

    @property
    def row(self) -> Preference:
        constraints = self.constraints.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return Preference(self.channel, self.event_type, self.enabled, tidy(constraints))


class Wishes(BaseModel):
    """All that a recipient wishes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preferences: Annotated[list[Wish], Field(max_length=500)]

    @model_validator(mode="after")
    def each_once(self) -> Self:
        pairs = [(wish.channel, wish.event_type) for wish in self.preferences]
        if len(set(pairs)) != len(pairs):
            raise ValueError("must not name the same channel and event_type twice")
        return self


class Shown(BaseModel):
    channel: str
    event_type: str
    enabled: bool
    constraints: Constraints
    updated_at: AwareDatetime | None


class Listed(BaseModel):
    """All that a recipient wishes."""

    user_id: str
    preferences: list[Shown]


OWN = (Scope.USER, Scope.PRODUCER)
SHOW = Contract("show_preferences", "Show a user's preferences", {200: Listed}, OWN, own=True)
REPLACE = Contract(
    "replace_preferences", "Replace a user's preferences", {200: Listed}, OWN, own=True, body=Wishes
)


def tidy(constraints: dict[str, Any]) -> dict[str, Any]:
    """As people write it: minutes, and days in order of the week."""
    if hours := constraints.get("quiet_hours"):
        for end in ("from", "to"):
            hours[end] = hours[end][:5]
        if "days" in hours:
            hours["days"] = sorted(hours["days"], key="mon tue wed thu fri sat sun".index)
    return constraints


class Preferences:
    """The handlers, and what they share: the settings and the service's pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool

    def routes(self) -> list[Endpoint]:
        return [Endpoint("GET", PATH, self.show, SHOW), Endpoint("PUT", PATH, self.replace, REPLACE)]

    async def show(self, request: Request) -> Response:
        """What is not there follows the channel's own rules."""
        user_id = user_of(request)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            return shown(user_id, await preferences.of_user(conn, user_id))

    async def replace(self, request: Request) -> Response:
        """These are all there are from now on. The nearest to an event type wins."""
        user_id = user_of(request)
        wishes = read_strictly(Wishes, parse_object(await read_json_bytes(request, BODY_BYTES)))
        rows = [wish.row for wish in wishes.preferences]
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            try:
                async with conn.transaction():
                    await preferences.replace_all(conn, user_id, rows)
            except asyncpg.ForeignKeyViolationError:
                raise refused(
                    InvalidNotificationError("preferences", "names a channel that is not known")
                ) from None
            return shown(user_id, await preferences.of_user(conn, user_id))


def shown(user_id: str, found: list[Preference]) -> Response:
    body = {
        "user_id": user_id,
        "preferences": [
            {
                "channel": wish.channel,
                "event_type": wish.event_type,
                "enabled": wish.enabled,
                "constraints": wish.constraints,
                "updated_at": wish.updated_at and wish.updated_at.isoformat(),
            }
            for wish in found
        ],
    }
    return JSONResponse(body, headers={"Cache-Control": "no-store"})
