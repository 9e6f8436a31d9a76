"""The routes by which a person gets all that is kept of it, or is erased (docs/privacy.md)."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from db import erasure as sql
from db.erasure import Erasure
from db.pool import Pool
from outbox import audit
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.contract import Contract, Endpoint, administers, caller
from outbox.api.notifications import ACQUIRE_SECONDS, PrettyResponse, parse_id
from outbox.api.problems import ProblemError
from outbox.api.reading import read
from outbox.api.users import USER, user_of
from outbox.envelope import Name
from outbox.erasure import eraser, export
from outbox.settings import Settings
from outbox.tokens import Scope

BODY_BYTES = 64 * 1024
PRIVATE = {"Cache-Control": "no-store"}


class Requested(BaseModel):
    """POST /v1/erasures."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: Name = Field(description="Who is erased.")
    addresses: Annotated[list[Name], Field(max_length=100)] = Field(
        default_factory=list,
        description="Addresses and numbers the person had before; those in use are known.",
    )


class Receipt(BaseModel):
    """An erasure. It names nobody: `subject` stands for the person, and only this installation can tell for whom."""

    id: UUID
    subject: str
    status: Literal["running", "done"]
    round: int = Field(description="Everything is gone through twice.")
    erased: dict[str, int] = Field(description="How many rows, by table, and stream entries are gone so far.")
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None


class Export(BaseModel):
    """All that is kept of a person. Rows are as the tables have them."""

    user_id: str
    exported_at: AwareDatetime
    recipient: dict[str, Any] | None
    suppressions: list[dict[str, Any]]
    devices: list[dict[str, Any]]
    preferences: list[dict[str, Any]]
    webhook_endpoints: list[dict[str, Any]]
    caps: list[dict[str, Any]]
    open_digests: list[dict[str, Any]]
    inbox_counters: dict[str, Any] | None
    notifications: list[dict[str, Any]] = Field(
        description="Each with all that hangs on it, the oldest first."
    )
    acted_in: list[dict[str, Any]] = Field(description="Other people's, which name the person as the actor.")


LOCATION = {"Location": "Where to follow the erasure."}
ERASE = Contract(
    "erase_user", "Erase a person", {202: Receipt}, (Scope.ADMIN,), body=Requested, sends=LOCATION
)
SHOW = Contract("show_erasure", "Show an erasure", {200: Receipt}, (Scope.ADMIN,), problems=(404,))
EXPORT = Contract(
    *("export_user", "Export all that is kept of a person", {200: Export}, (Scope.USER, Scope.ADMIN)),
    own=True,
    audited=True,
)


class Privacy:
    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/v1/erasures", self.erase, ERASE),
            Endpoint("GET", "/v1/erasures/{id}", self.show, SHOW),
            Endpoint("GET", f"{USER}/export", self.export, EXPORT),
        ]

    async def erase(self, request: Request) -> Response:
        """Begins it, and answers with the receipt, which grows; a second request while it runs gets the same one. The
        id is in the body and not in the path, because paths are logged by proxies."""
        body = read(Requested, parse_object(await read_json_bytes(request, BODY_BYTES)))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            begun = await eraser.request(conn, self.settings, caller(request), body.user_id, body.addresses)
        location = f"{self.settings.public_api_url}/v1/erasures/{begun.id}"
        return PrettyResponse(receipt(begun), 202, headers=PRIVATE | {"Location": location})

    async def show(self, request: Request) -> Response:
        identity = parse_id(request.path_params["id"])
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            found = await sql.find(conn, identity)
        if found is None:
            raise ProblemError(404, "not-found", f"There is no erasure {identity}.")
        return PrettyResponse(receipt(found), headers=PRIVATE)

    async def export(self, request: Request) -> Response:
        """One JSON document, streamed. Somebody of whom nothing is kept gets one without content."""
        user_id = user_of(request)
        if administers(caller(request)):
            target = audit.pseudonym(self.settings, user_id)
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
                await audit.record(conn, caller(request), "user.export", target)
        parts = export.document(self.pool, user_id)
        disposition = {"Content-Disposition": 'attachment; filename="export.json"'}
        return StreamingResponse(parts, media_type="application/json", headers=PRIVATE | disposition)


def receipt(erasure: Erasure) -> dict[str, Any]:
    finished = erasure.finished_at
    return {
        "id": str(erasure.id),
        "subject": erasure.subject,
        "status": "done" if finished else "running",
        "round": erasure.round,
        "erased": erasure.erased,
        "requested_at": erasure.requested_at.isoformat(),
        "finished_at": finished and finished.isoformat(),
    }
