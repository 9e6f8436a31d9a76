"""The audit log: what is written, what never is, and that a route which forgets it does not pass."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from db.pool import Connection, Pool
from outbox import audit
from outbox.api.app import create_app
from outbox.api.contract import Contract, Endpoint, caller
from outbox.probes import Health
from outbox.settings import Settings
from outbox.tokens import Identity, Scope, Via, issue

ANN = Identity("ann", frozenset({"admin"}), datetime(2100, 1, 1, tzinfo=UTC))


async def entries(admin: Connection) -> list[dict[str, Any]]:
    rows = await admin.fetch("SELECT * FROM notify.audit_log ORDER BY id")
    return [{**row, "detail": json.loads(row["detail"])} for row in rows]


async def test_who_what_on_what_and_when(pool: Pool, admin: Connection) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    async with pool.acquire() as conn:
        await audit.record(conn, ANN, "channel.change", "email", {"after": {"enabled": False}})
    [entry] = await entries(admin)
    assert (entry["actor"], entry["via"], entry["action"], entry["target"]) == (
        *("ann", Via.TOKEN),
        *("channel.change", "email"),
    )
    assert entry["detail"] == {"after": {"enabled": False}}
    assert entry["at"] > before


async def test_no_secret_is_written_and_what_cannot_be_stored_is_replaced(
    pool: Pool, admin: Connection
) -> None:
    odd = Identity("a\x00b\nc", frozenset({"admin"}), ANN.expires_at)
    detail = {
        "token": "s3cret-value",
        "name": "env:NAME",
        "url": "https://u:s3cret-value@h/",
        "list": ["a\x00\ud800b", ("x",)],
        "bad\x00key": datetime(2026, 1, 1, tzinfo=UTC),
    }
    async with pool.acquire() as conn:
        await audit.record(conn, odd, "channel.change", "x" * 400, detail)
        await audit.record(conn, ANN, "channel.change", "", {"text": "x" * 40_000})
    first, second = await entries(admin)
    assert "s3cret-value" not in str(first)
    assert first["detail"]["name"] == "env:NAME"
    assert first["detail"]["list"] == ["a\ufffd\ufffdb", ["x"]]
    assert first["actor"] == "a\ufffdb\ufffdc"
    assert len(first["target"]) == 300
    assert (second["target"], list(second["detail"])) == ("?", ["left_out_bytes"])


async def test_it_is_there_if_and_only_if_the_act_is(pool: Pool, admin: Connection) -> None:
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await audit.record(conn, ANN, "channel.change", "email")
        await transaction.rollback()
    assert await entries(admin) == []


async def test_pruned_by_age_and_never_what_is_younger_than_a_day(pool: Pool, admin: Connection) -> None:
    async with pool.acquire() as conn:
        for days in (3, 2, 0):
            await audit.record(conn, ANN, "channel.change", f"{days} days")
    await admin.execute(
        "UPDATE notify.audit_log SET at = now() - split_part(target, ' ', 1)::int * interval '1 day'"
    )
    before = datetime.now(UTC) - timedelta(days=1, hours=1)
    assert await pool.fetchval("SELECT notify.audit_prune($1, 1)", before) == 1
    assert await pool.fetchval("SELECT notify.audit_prune($1, 10)", before) == 1
    assert [entry["target"] for entry in await entries(admin)] == ["0 days"]
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.fetchval("SELECT notify.audit_prune(now(), 10)")


def test_a_pseudonym_is_the_same_for_the_same_name_only(settings: Settings) -> None:
    name = audit.pseudonym(settings, "ann@example.org")
    assert name == audit.pseudonym(settings, "ann@example.org")
    assert name != audit.pseudonym(settings, "bob@example.org")
    assert "ann" not in name


async def forgets(_: Request) -> Response:
    return Response(status_code=204)


async def remembers(request: Request) -> Response:
    async with request.app.state.pool.acquire() as conn:
        await audit.record(conn, caller(request), "channel.change", "email")
    return Response(status_code=204)


@pytest.mark.parametrize(("env", "expected"), [("development", 500), ("production", 204)])
async def test_a_route_that_forgets_it_is_refused_where_it_is_developed(
    settings: Settings, pool: Pool, env: str, expected: int
) -> None:
    answer = await call(settings.model_copy(update={"env": env}), pool, "/forgets")
    assert answer.status_code == expected


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("a b", False), ("", False)])
async def test_an_entry_names_the_request(
    settings: Settings, pool: Pool, admin: Connection, given: str, kept: bool
) -> None:
    answer = await call(settings, pool, "/remembers", {"X-Request-Id": given})
    [entry] = await entries(admin)
    assert answer.status_code == 204
    assert entry["request_id"] == answer.headers["x-request-id"]
    assert (entry["request_id"] == given) == kept
    assert entry["actor"] == "ann"


async def call(
    settings: Settings, pool: Pool, path: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    app = create_app(settings, pool, Health())
    app.state.pool = pool
    for handler in (forgets, remembers):
        contract = Contract(handler.__name__, "", {204: None}, (Scope.ADMIN,))
        app.router.routes.append(Endpoint("POST", f"/{handler.__name__}", handler, contract))
    token = issue(settings, "ann", Scope.ADMIN, timedelta(minutes=1))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as api:
        return await api.post(path, headers={"Authorization": f"Bearer {token}"} | (headers or {}))
