"""Every route × everybody × own and others' data: who comes through is what the table says, and nothing else."""

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from db.pool import Pool
from outbox.api.app import create_app
from outbox.api.contract import Contract, Endpoint
from outbox.probes import Health
from outbox.settings import Settings
from outbox.tokens import Scope
from tests.outbox.api.callers import Caller, everybody
from tests.outbox.api.matrix import ME, PLACES, SOMEBODY, TABLE, Row

THROUGH = "through"


def routes(app: Starlette) -> set[tuple[str, str]]:
    found = {
        (method, route.path.replace(":bare}", "}"))
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert all(isinstance(route, Route) for route in app.routes), "a mount hides its routes from the matrix"
    return found


def place(path: str, user: str) -> str:
    for name, value in (PLACES | {"{user_id:path}": user}).items():
        path = path.replace(name, value)
    assert "{" not in path, path
    return path


def expected(row: Row, caller: Caller, user: str) -> int | str:
    """By the table alone."""
    if row.signed:
        return 403
    if not row.scopes:
        return THROUGH
    if caller.scopes is None:
        return 401
    useful = row.scopes & caller.scopes
    foreign = row.own and useful == {"user"} and user != ME
    return 403 if not useful or foreign or (caller.limited and not row.limited) else THROUGH


async def seen(api: httpx.AsyncClient, method: str, path: str, caller: Caller) -> int | str:
    answer = await api.request(method, path, headers=caller.headers)
    assert answer.status_code < 500, (method, path, caller.name, answer.text)
    return answer.status_code if answer.status_code in {401, 403} else THROUGH


async def test_who_comes_through(settings: Settings, pool: Pool) -> None:
    app = create_app(settings, pool, Health())
    callers = await everybody(settings, pool)
    transport = httpx.ASGITransport(app)
    wrong = []
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as api:
        for (method, path), row in TABLE.items():
            for user in (ME, SOMEBODY) if row.own else (ME,):
                for caller in callers:
                    got, due = await seen(api, method, place(path, user), caller), expected(row, caller, user)
                    if got != due:
                        wrong.append(f"{method} {path} of {user} by {caller.name}: {got}, and not {due}")
    assert wrong == []


def test_every_route_has_a_row_and_every_row_a_route(settings: Settings, pool: Pool) -> None:
    assert routes(create_app(settings, pool, Health())) == set(TABLE)


async def test_the_matrix_finds_a_contract_that_is_too_wide(settings: Settings, pool: Pool) -> None:
    """The test itself, tried: one route is opened to users."""
    app = create_app(settings, pool, Health())
    opened = next(each for each in app.routes if isinstance(each, Endpoint) and each.path == "/v1/channels")
    scopes = (*opened.contract.scopes, Scope.USER)
    wide = Contract(opened.contract.id, "", opened.contract.answers, scopes)
    app.router.routes.insert(0, Endpoint("GET", "/v1/channels", opened.handler, wide))
    user = next(each for each in await everybody(settings, pool) if each.name == "token of user")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as api:
        got = await seen(api, "GET", "/v1/channels", user)
    assert got != expected(TABLE["GET", "/v1/channels"], user, ME)
