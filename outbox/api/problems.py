"""Every error leaves the API as a problem document (RFC 9457); this is the one place that makes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from uuid import uuid4

import asyncpg
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ExceptionHandler

from outbox.errors import InvalidNotificationError, OutboxError
from outbox.log import get
from outbox.service import describe

log = get("api")

RETRY_AFTER_SECONDS = 2
ERRORS_LISTED = 100

# Postgres is away, full, starting, stopping, or had to pick a victim: nothing is wrong with the request.
OUTAGES: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalClientError,  # the last words of a dying server crossed a command
    asyncpg.ObjectNotInPrerequisiteStateError,  # the database takes no connections at the moment
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresConnectionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
)


class BrokenRule(BaseModel):
    field: str
    detail: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[BrokenRule] = []


@dataclass(eq=False)
class ProblemError(OutboxError):
    """Ends a request with this answer. `kind` is the last part of the problem's type."""

    status: int
    kind: str
    detail: str
    errors: Sequence[InvalidNotificationError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def invalid(*errors: InvalidNotificationError) -> ProblemError:
    """422: the document is JSON, but it breaks rules; each is listed with its field."""
    detail = str(errors[0]) if len(errors) == 1 else f"{len(errors)} rules are broken; the first: {errors[0]}"
    return ProblemError(422, "invalid-notification", detail, errors)


def refused(*errors: InvalidNotificationError) -> ProblemError:
    """422 for what is no notification."""
    return replace(invalid(*errors), kind="invalid")


def render(problem: ProblemError) -> Response:
    body = {
        "type": f"urn:outbox:problem:{problem.kind}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        listed = problem.errors[:ERRORS_LISTED]
        body["errors"] = [{"field": error.field, "detail": error.rule} for error in listed]
    return Response(
        json.dumps(body, ensure_ascii=False, indent=2) + "\n",
        problem.status,
        media_type="application/problem+json",
        headers=problem.headers,
    )


async def on_problem(_: Request, error: ProblemError) -> Response:
    return render(error)


async def on_broken_rule(_: Request, error: InvalidNotificationError) -> Response:
    return render(invalid(error))


async def on_http(request: Request, error: HTTPException) -> Response:
    """What the router says: no such path, no such method."""
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return other_method(request)
    kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = f"{request.method} {request.url.path}: {HTTPStatus(error.status_code).description}"
    return render(ProblemError(error.status_code, kind, detail, headers=error.headers or {}))


def other_method(request: Request) -> Response:
    """405, or the answer to OPTIONS. The router would name the methods of one of the path's routes only."""
    allowed = {"OPTIONS"}
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            allowed |= route.methods or set()
    headers = {"Allow": ", ".join(sorted(allowed))}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    detail = f"{request.url.path} is not for {request.method}; it takes {headers['Allow']}."
    return render(ProblemError(405, "method-not-allowed", detail, headers=headers))


async def on_disconnect(_: Request, __: ClientDisconnect) -> Response:
    """Nobody is there to read it; it only keeps a hang-up from being counted as a bug."""
    return Response(status_code=499)


def route_of(request: Request) -> str:
    """The route's pattern, for the log: a path may hold a token."""
    return str(getattr(request.scope.get("route"), "path", "unmatched"))


async def on_outage(request: Request, error: Exception) -> Response:
    log.warning("api.unavailable", route=route_of(request), error=describe(error))
    detail = (
        "Postgres does not answer at the moment. Send the request again; "
        "with a dedup_key that is safe even where the first one got through."
    )
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return render(ProblemError(503, "unavailable", detail, headers=headers))


async def on_bug(request: Request, error: Exception) -> Response:
    """Starlette raises the error again afterwards, so the stack trace is in the log, and only there."""
    incident = uuid4().hex
    log.error("api.failed", incident=incident, route=route_of(request), error=describe(error))
    return render(ProblemError(500, "internal", f"Something broke here; in the log it is {incident}."))


HANDLERS: dict[type[Exception], ExceptionHandler] = {
    ProblemError: on_problem,  # type: ignore[dict-item]  # each handler gets the type it stands under
    InvalidNotificationError: on_broken_rule,  # type: ignore[dict-item]  # as above
    HTTPException: on_http,  # type: ignore[dict-item]  # as above
    ClientDisconnect: on_disconnect,  # type: ignore[dict-item]  # as above
    Exception: on_bug,
    **dict.fromkeys(OUTAGES, on_outage),
}
