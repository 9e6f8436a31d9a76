"""The routes of /v1/users/{user_id}/devices: whom a push goes to. An app says its token after each start."""

import re
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db import push
from db.pool import Pool
from db.push import Device, Platform
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.contract import Contract, Endpoint
from outbox.api.notifications import ACQUIRE_SECONDS
from outbox.api.problems import invalid
from outbox.api.users import USER, user_of
from outbox.errors import InvalidNotificationError
from outbox.settings import Settings
from outbox.tokens import Scope

BODY_BYTES = 16 * 1024
# APNs: hexadecimal, of a length that Apple does not promise. FCM: opaque; no more than the unique index holds.
TOKENS = {
    Platform.APNS: re.compile(r"(?:[0-9A-Fa-f]{2}){16,200}"),
    Platform.FCM: re.compile(r"[0-9A-Za-z_:.~=+-]{1,2000}"),
}


def whole(pattern: re.Pattern[str]) -> str:
    return f"^{pattern.pattern}$"


SHAPES = {Platform.APNS: "hexadecimal", Platform.FCM: "1 to 2000 of the characters A-Z a-z 0-9 _ : . ~ = + -"}


class Apns(BaseModel):
    """A token of APNs is a number."""

    model_config = ConfigDict(extra="forbid")

    platform: Literal[Platform.APNS]
    token: str = Field(pattern=whole(TOKENS[Platform.APNS]))


class Fcm(BaseModel):
    """A token of FCM is opaque."""

    model_config = ConfigDict(extra="forbid")

    platform: Literal[Platform.FCM]
    token: str = Field(pattern=whole(TOKENS[Platform.FCM]))


class Given(RootModel[Annotated[Apns | Fcm, Field(discriminator="platform")]]):
    """A device as an app tells it; `read` names what is wrong."""


class Shown(BaseModel):
    """A device. `registered_at`: when the app last said that this is its token."""

    id: UUID
    platform: Platform
    token: str
    registered_at: AwareDatetime


class Listed(BaseModel):
    devices: list[Shown]


OWN = (Scope.USER, Scope.PRODUCER)
LIST = Contract("list_devices", "List a user's devices", {200: Listed}, OWN, own=True)
PUT = Contract(
    *("register_device", "Register a device", {200: Shown}, OWN),
    own=True,
    body=Given,
    links={"forget_device": {"user_id": "$request.path.user_id", "token": "$response.body#/token"}},
)
DELETE = Contract("forget_device", "Forget a device", {204: None}, OWN, own=True)
CLEAR = Contract("forget_devices", "Forget all devices of a user", {204: None}, OWN, own=True)


class Devices:
    """A user may speak for itself, a producer for every user."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings = settings
        self.pool = pool

    def routes(self) -> list[Endpoint]:
        path = f"{USER}/devices"
        return [
            Endpoint("GET", path, self.list, LIST),
            Endpoint("PUT", path, self.put, PUT),
            Endpoint("DELETE", path + "/{token}", self.delete, DELETE),
            Endpoint("DELETE", path, self.clear, CLEAR),
        ]

    async def list(self, request: Request) -> Response:
        """The newest first."""
        user_id = user_of(request)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            devices = await push.devices_of(conn, user_id)
        return answer({"devices": [shown(device) for device in devices]})

    async def put(self, request: Request) -> Response:
        """Known or new: it is this user's now. Safe to repeat. A token of APNs is hexadecimal; one of FCM is of
        letters, digits and _ : . ~ = + -"""
        user_id = user_of(request)
        platform, token = read(parse_object(await read_json_bytes(request, BODY_BYTES)))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            device = await push.register(conn, user_id, platform, token)
        return answer(shown(device))

    async def delete(self, request: Request) -> Response:
        """204 whether it was there or not."""
        user_id, token = user_of(request), request.path_params["token"]
        if not TOKENS[Platform.FCM].fullmatch(token):  # which of APNs' would be, too
            raise invalid(InvalidNotificationError("token", f"must be {SHAPES[Platform.FCM]}"))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            await push.unregister(conn, user_id, spellings(token))
        return Response(status_code=204)

    async def clear(self, request: Request) -> Response:
        """For somebody who signs out everywhere: nothing is pushed until a device is registered again."""
        user_id = user_of(request)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            await push.unregister_all(conn, user_id)
        return Response(status_code=204)


def read(document: dict[str, Any]) -> tuple[Platform, str]:
    """Raises ProblemError, 422, with all that is wrong."""
    broken = [
        InvalidNotificationError(key, "is not a field of a device; the fields are platform, token")
        for key in document
        if key not in {"platform", "token"}
    ]
    platform, token = document.get("platform"), document.get("token")
    if platform not in list(Platform):
        raise invalid(*broken, InvalidNotificationError("platform", f"must be one of {', '.join(Platform)}"))
    kind = Platform(platform)
    if not isinstance(token, str) or not TOKENS[kind].fullmatch(token):
        broken.append(InvalidNotificationError("token", f"must be {SHAPES[kind]}"))
    if broken:
        raise invalid(*broken)
    return kind, str(token).lower() if kind is Platform.APNS else str(token)


def spellings(token: str) -> list[str]:
    """As it may stand in the table. APNs' are numbers: one device, one row, however the app spells it."""
    return [token, token.lower()] if TOKENS[Platform.APNS].fullmatch(token) else [token]


def shown(device: Device) -> dict[str, Any]:
    return {
        "id": str(device.id),
        "platform": device.platform,
        "token": device.token,
        "registered_at": device.registered_at.isoformat(),
    }


def answer(content: dict[str, Any]) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})
