"""The routes of /v1/templates/{channel}/{name}/versions: one version looked at, and put in force again."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db import templates
from db.pool import Executor, Pool
from db.templates import Draft, Published
from outbox.api.contract import Contract, Endpoint, caller
from outbox.api.dead_letters import private
from outbox.api.notifications import ACQUIRE_SECONDS
from outbox.api.problems import ProblemError
from outbox.api.reading import read
from outbox.api.template_contracts import ADMIN, ETAG, InForce, Language, Named, Place, Shown
from outbox.api.templates import etag, if_match, named, publish_on_top, shown
from outbox.audit import record
from outbox.settings import Settings

PATH = "/v1/templates/{channel}/{name}/versions/{version:bare}"


class Numbered(Named):
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]


class Which(Numbered, Place):
    """All that tells one version from the others."""


SHOW = Contract(
    *("show_template_version", "Show one version of a template", {200: Shown}, ADMIN),
    path=Numbered,
    query=Language,
    problems=(404,),
)
RESTORE = Contract(
    *("restore_template_version", "Put a version in force again", {200: InForce, 201: InForce}, ADMIN),
    path=Numbered,
    query=Language,
    headers={"If-Match": "The ETag of the version that is to be replaced."},
    problems=(404, 409, 412),
    sends=ETAG,
)


class TemplateVersions:
    """The handlers, and what they need: the service's pool."""

    def __init__(self, _: Settings, pool: Pool) -> None:
        self.pool = pool

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("GET", PATH, self.show, SHOW),
            Endpoint("POST", PATH + ":restore", self.restore, RESTORE),
        ]

    async def show(self, request: Request) -> Response:
        which = which_of(request)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            found = await find(conn, which)
        return private(shown(found))

    async def restore(self, request: Request) -> Response:
        """Versions are never changed, so this publishes its text as a new one: 201; 200 where it is in force."""
        which = which_of(request)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            found = await find(conn, which)
            version, fresh = await publish_on_top(conn, again(found, if_match(request)))
            detail = {"locale": found.locale, "restored": found.version, "version": version, "fresh": fresh}
            await record(conn, caller(request), "template.restore", named(which.draft()), detail)
        body = {"channel": found.channel, "name": found.name, "locale": found.locale, "version": version}
        return JSONResponse(body, 201 if fresh else 200, {"ETag": etag(version)})


def which_of(request: Request) -> Which:
    return read(Which, {**request.query_params, **request.path_params})


async def find(conn: Executor, which: Which) -> Published:
    found = await templates.version(conn, which.draft(), which.version)
    if found is None:
        raise ProblemError(404, "not-found", f"There is no version {which.version} of that template.")
    return found


def again(found: Published, on_top_of: int | None) -> Draft:
    draft = Draft(found.channel, found.name, found.locale, found.subject, found.body_text, found.body_html)
    return replace(draft, on_top_of=on_top_of)
