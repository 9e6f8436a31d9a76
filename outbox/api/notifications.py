"""The routes of /v1/notifications: take one, take many, tell how far one has come."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from db import notifications
from db.pool import Pool
from outbox.api import status, why
from outbox.api.auth import require
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.intake import Accepted, accept, accept_batch, read_batch, read_one
from outbox.api.problems import ProblemError, invalid
from outbox.envelope import Notification
from outbox.errors import InvalidNotificationError
from outbox.settings import Settings
from outbox.tokens import Scope

ONE_BYTES = 1024 * 1024
BATCH_BYTES = 16 * 1024 * 1024  # a thousand notifications of 16 KiB
ACQUIRE_SECONDS = 5.0


class Notifications:
    """The handlers, and what they share: the settings and the service's pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings = settings
        self.pool = pool

    def routes(self) -> list[Route]:
        return [
            Route("/v1/notifications", self.create, methods=["POST"]),
            Route("/v1/notifications:batch", self.create_batch, methods=["POST"]),
            Route("/v1/notifications/{id}", self.show, methods=["GET"]),
            Route("/v1/notifications/{id}", self.cancel, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        require(request, self.settings, Scope.PRODUCER)
        document = parse_object(await read_json_bytes(request, ONE_BYTES))
        notification = read_one(document, request.headers)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            accepted = await accept(conn, notification)
        shown = self.link(accepted)
        headers = {"Location": shown["status_url"]} | replay_header(accepted.replayed)
        return JSONResponse(shown, 202, headers)

    async def create_batch(self, request: Request) -> Response:
        require(request, self.settings, Scope.PRODUCER)
        body = await read_json_bytes(request, BATCH_BYTES)
        # In a thread: megabytes of JSON would hold up every other request.
        batch = await asyncio.to_thread(parse_batch, body, request.headers)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            accepted = await accept_batch(conn, batch)
        shown = [self.link(each) | {"replayed": each.replayed} for each in accepted]
        headers = replay_header(all(each.replayed for each in accepted))
        return JSONResponse({"notifications": shown}, 202, headers)

    async def show(self, request: Request) -> Response:
        require(request, self.settings, Scope.PRODUCER)
        identity = parse_id(request.path_params["id"])
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            row = await notifications.status(conn, identity)
        if row is None:
            raise ProblemError(404, "not-found", f"There is no notification {identity}.")
        return PrettyResponse(status.describe(dict(row)), headers={"Cache-Control": "no-store"})

    async def cancel(self, request: Request) -> Response:
        require(request, self.settings, Scope.PRODUCER)
        identity = parse_id(request.path_params["id"])
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            canceled = await notifications.cancel(conn, identity)
        if canceled is None:
            raise ProblemError(404, "not-found", f"There is no notification {identity}.")
        return PrettyResponse(why.withdrawn(identity, canceled), headers={"Cache-Control": "no-store"})

    def link(self, accepted: Accepted) -> dict[str, Any]:
        url = f"{self.settings.public_api_url}/v1/notifications/{accepted.id}"
        return {"id": str(accepted.id), "status_url": url}


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
