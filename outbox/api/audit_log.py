"""The route of /v1/audit-log, and the loop that prunes it."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from db import audit
from db.audit import Entry, Filter
from db.pool import Pool
from outbox.api.contract import Contract, Endpoint
from outbox.api.notifications import ACQUIRE_SECONDS, PrettyResponse
from outbox.api.reading import read
from outbox.audit import UNSTORABLE, pseudonym
from outbox.envelope import Moment
from outbox.log import get
from outbox.settings import Settings
from outbox.tokens import Scope, Via

log = get("api")

PRUNE_ROWS = 1000
PRUNE_SECONDS = 3600.0


class Listing(BaseModel):
    """The query. `about`: a user or an address, which the log has under a pseudonym only."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    actor: Annotated[str, Field(max_length=200)] | None = None
    action: Annotated[str, Field(max_length=100)] | None = None
    target: Annotated[str, Field(max_length=300)] | None = None
    about: Annotated[str, Field(max_length=500)] | None = None
    since: Moment | None = None
    until: Moment | None = None


class Shown(BaseModel):
    """An act. `detail`: what it changed, as before and after, where that tells more."""

    id: str
    at: AwareDatetime
    actor: str
    via: Via
    action: str
    target: str
    detail: dict[str, Any]
    request_id: str | None


class Listed(BaseModel):
    audit_log: list[Shown]
    next_cursor: str | None


LIST = Contract(
    "list_audit_log", "List what administrators did", {200: Listed}, (Scope.ADMIN,), query=Listing
)


class AuditLog:
    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool

    def routes(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v1/audit-log", self.list, LIST)]

    async def list(self, request: Request) -> Response:
        """Newest first."""
        query = read(Listing, dict(request.query_params))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            found = await audit.page(conn, self.filter(query), query.limit + 1)
        page = found[: query.limit]
        cursor = str(page[-1].id) if len(found) > query.limit else None
        body = {"audit_log": [described(entry) for entry in page], "next_cursor": cursor}
        return PrettyResponse(body, headers={"Cache-Control": "no-store"})

    def filter(self, query: Listing) -> Filter:
        """Addresses are logged in lower case, users' ids as they are."""
        spellings = [] if query.about is None else [query.about, query.about.lower()]
        return Filter(
            int(query.cursor) if query.cursor else None,
            storable(query.actor),
            storable(query.action),
            storable(query.target),
            query.since,
            query.until,
            [pseudonym(self.settings, each) for each in spellings] or None,
        )

    async def prune(self) -> float:
        """What is past the retention goes, in small pieces; seconds until the next look. Safe in many processes."""
        before = datetime.now(UTC) - self.settings.audit_retention
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            gone = await audit.prune(conn, before, PRUNE_ROWS)
        if gone:
            log.info("api.audit_pruned", entries=gone)
        return 0 if gone == PRUNE_ROWS else PRUNE_SECONDS


def storable(word: str | None) -> str | None:
    """As it would stand in the log."""
    return word if word is None else UNSTORABLE.sub("\ufffd", word)


def described(entry: Entry) -> dict[str, Any]:
    return asdict(entry) | {"id": str(entry.id), "at": entry.at.isoformat()}
