"""The routes of /v1/templates: versions published, looked at, tried out with a payload, and sent to one person."""

from dataclasses import asdict
from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db import notifications, recipients, suppressions, templates
from db.pool import Executor, Pool
from db.templates import Draft, OutdatedError, Published, Template
from outbox.api.body import parse_object, read_json_bytes
from outbox.api.contract import Endpoint, caller
from outbox.api.dead_letters import plain, private
from outbox.api.intake import accept
from outbox.api.problems import ProblemError, refused
from outbox.api.reading import read, read_strictly
from outbox.api.suppressions import check_address
from outbox.api.template_contracts import (
    LIST,
    PREVIEW,
    PUBLISH,
    SHOW,
    TEST,
    Listing,
    Place,
    Sources,
    TestSend,
    Trial,
)
from outbox.audit import record
from outbox.envelope import (
    Notification,
    Priority,
)
from outbox.errors import InvalidNotificationError
from outbox.rendering import layouts
from outbox.rendering.renderers import Rendered, Renderers, Starved
from outbox.rendering.sample import sample
from outbox.settings import Settings

BODY_BYTES = 512 * 1024
ACQUIRE_SECONDS = 5.0


class Templates:
    """The handlers, and what they share: the settings and the service's pool."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool

    def routes(self) -> list[Endpoint]:
        one = "/v1/templates/{channel}/{name:bare}"
        return [
            Endpoint("GET", "/v1/templates", self.list, LIST),
            Endpoint("POST", one + ":preview", self.preview, PREVIEW),
            Endpoint("POST", one + ":test", self.test, TEST),
            Endpoint("GET", one, self.show, SHOW),
            Endpoint("PUT", one, self.publish, PUBLISH),
        ]

    async def list(self, request: Request) -> Response:
        """What is in force, of one channel or of all."""
        asked = read(Listing, dict(request.query_params))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            found = await templates.in_force(conn, asked.channel)
        return private({"templates": [shown(each) for each in found]})

    async def show(self, request: Request) -> Response:
        """All versions, the one in force first; its number is the ETag."""
        place = place_of(request)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            versions = await templates.versions(conn, place.channel, place.name, place.locale)
        if not versions:
            raise ProblemError(404, "not-found", f"There is no template {place.name!r} like that.")
        answer = private({"versions": [shown(each) for each in versions]})
        answer.headers["ETag"] = etag(versions[0].version)
        return answer

    async def publish(self, request: Request) -> Response:
        """A new version, in force at once: 201; the same again: 200. With If-Match, only on top of that version."""
        place = place_of(request)
        sources = read_strictly(Sources, parse_object(await read_json_bytes(request, BODY_BYTES)))
        await compiles(sources.template(place.name))
        draft = Draft(**asdict(place) | sources.model_dump() | {"on_top_of": if_match(request)})
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            if draft.channel not in await notifications.known_channels(conn):
                raise ProblemError(404, "not-found", "There is no such channel; GET /v1/channels lists them.")
            version, fresh = await publish_on_top(conn, draft)
            detail = {"locale": place.locale, "version": version, "fresh": fresh}
            await record(conn, caller(request), "template.publish", named(place), detail)
        body = {"channel": place.channel, "name": place.name, "locale": place.locale, "version": version}
        return JSONResponse(body, 201 if fresh else 200, {"ETag": etag(version)})

    async def preview(self, request: Request) -> Response:
        """The parts as they would be sent. Sends nothing."""
        place = place_of(request)
        trial = read_strictly(Trial, parse_object(await read_json_bytes(request, BODY_BYTES)))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            template = (trial.draft or await self.in_force(conn, place)).template(place.name)
            readable = layouts.for_reader(
                await layouts.fetch(conn, place.channel, [template]), trial.locale or place.locale
            )
        return private(asdict(await rendered(template, variables(trial), readable)))

    async def in_force(self, conn: Executor, place: Draft) -> Sources:
        versions = await templates.versions(conn, place.channel, place.name, place.locale)
        if not versions:
            raise ProblemError(404, "not-found", f"There is no template {place.name!r} like that.")
        newest = versions[0]
        return Sources(subject=newest.subject, body_text=newest.body_text, body_html=newest.body_html)

    async def test(self, request: Request) -> Response:
        """To one person or address, by the road that everything takes, so its timeline says how it went."""
        place = place_of(request)
        asked = read_strictly(TestSend, parse_object(await read_json_bytes(request, BODY_BYTES)))
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            user_id = asked.user_id or await stand_in(conn, place, asked.address or "")
            await check_place(conn, place)
            accepted = await accept(conn, trial_of(place, user_id, asked.payload))
            detail = {"locale": place.locale, "notification_id": str(accepted.id)}
            await record(conn, caller(request), "template.test", named(place), detail)
        url = f"{self.settings.public_api_url}/v1/notifications/{accepted.id}"
        return JSONResponse({"id": str(accepted.id), "status_url": url}, 202, {"Location": url})


async def publish_on_top(conn: Executor, draft: Draft) -> tuple[int, bool]:
    """The version in force now, and whether this made it. Raises ProblemError: 412 and 409."""
    try:
        return await templates.publish(conn, draft)
    except OutdatedError as error:
        detail = f"The version in force is {error.newest}: look at it, and publish on top of it."
        raise ProblemError(412, "outdated", detail, headers={"ETag": etag(error.newest)}) from None
    except asyncpg.UniqueViolationError:
        raise ProblemError(409, "conflict", "Somebody else is publishing it at this moment.") from None


def place_of(request: Request) -> Draft:
    """Channel and name of the path, language of the query."""
    query = dict(request.query_params)
    locale = query.pop("locale", "")
    return read(Place, {**request.path_params, "locale": locale, **query}).draft()


def named(place: Draft) -> str:
    return f"{place.channel}/{place.name}"


def if_match(request: Request) -> int | None:
    """The version that If-Match names; 0 for `If-None-Match: *`; None without either. Raises ProblemError."""
    version, fresh = named_version(request), request.headers.get("if-none-match")
    if fresh is None:
        return version
    if fresh != "*":
        raise refused(InvalidNotificationError("If-None-Match", "must be *"))
    if version is not None:
        raise ProblemError(
            412, "outdated", "A template cannot be new and have a version: leave out If-Match."
        )
    return 0


def named_version(request: Request) -> int | None:
    given = request.headers.get("if-match")
    if given is None:
        return None
    if not (bare := given.strip().strip('"')).isdecimal() or len(bare) > 9:
        raise ProblemError(412, "outdated", 'If-Match must be a version as ETag gave it, like "3".')
    return int(bare)


def etag(version: int) -> str:
    return f'"{version}"'


async def check_place(conn: Executor, place: Draft) -> None:
    """Raises ProblemError, 404, where the path names no channel, or a template that has no language at all."""
    if place.channel not in await notifications.known_channels(conn):
        raise ProblemError(404, "not-found", "There is no such channel; GET /v1/channels lists them.")
    if not await notifications.known_templates(conn, [place.name]):
        raise ProblemError(404, "not-found", f"There is no template {place.name!r}.")


async def stand_in(conn: Executor, place: Draft, address: str) -> str:
    """Somebody who has this address, for an hour. Raises ProblemError: 422 for what is none, 503 for too many tests."""
    kind = check_address(place.channel, await suppressions.kind_of(conn, place.channel), address)
    user_id = await recipients.stand_in(conn, kind, address, place.locale or None)
    if user_id is None:
        busy = "A hundred addresses were tested within the hour; try again later."
        raise ProblemError(503, "busy", busy, headers={"Retry-After": "60"})
    return user_id


def trial_of(place: Draft, user_id: str, payload: dict[str, Any]) -> Notification:
    return Notification(
        event_type="template.test",
        user_id=user_id,
        channels=[place.channel],
        payload=payload,
        template_name=place.name,
        priority=Priority.URGENT,
    )


def variables(trial: Trial) -> dict[str, Any]:
    return sample(
        trial.payload,
        trial.locale,
        event_type=trial.event_type,
        user_id=trial.user_id,
        actor_user_id=trial.actor_user_id,
    )


async def compiles(template: Template) -> None:
    """Raises ProblemError, 422, with part and line."""
    await rendered(template, None, {})


async def rendered(
    template: Template, values: dict[str, Any] | None, readable: dict[str, dict[str, str]]
) -> Rendered:
    """In a process of its own, which ends with the request. Raises ProblemError, 422."""
    renderers = Renderers()
    try:
        result = await renderers.render(template, values, readable)
    finally:
        await renderers.close()
    match result:
        case Rendered():
            return result
        case Starved():
            raise ProblemError(
                503, "unavailable", "There was no time to render it.", headers={"Retry-After": "2"}
            )
        case refusal:
            raise refused(InvalidNotificationError("template", refusal.reason))


def shown(version: Published) -> dict[str, Any]:
    return {name: plain(value) for name, value in asdict(version).items()}
