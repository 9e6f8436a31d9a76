"""The API's door: tokens, problems for all that goes wrong, metrics, an outage of Postgres."""

import asyncio
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
import structlog
from prometheus_client import REGISTRY

from db.pool import Connection, Pool, open_pool
from outbox.api.app import create_app
from outbox.probes import Health
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.conftest import SECRET, Database
from tests.outbox.api.answers import problem

TERMINATE_WAITING = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE NOT granted AND relation = 'notify.notifications'::regclass
"""
ONE: dict[str, Any] = {"event_type": "order.paid", "user_id": "u-1"}


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


PATHS = (("POST", "/v1/notifications"), ("POST", "/v1/notifications:batch"), ("GET", "/v1/notifications/x"))


async def test_no_token_that_holds_is_401(api: httpx.AsyncClient) -> None:
    for header in ("", "Bearer", "Bearer ", "Basic dTpw", "Bearer a.b.c", "Bearer \u00e9"):
        for method, path in PATHS:
            answer = await api.request(method, path, headers={b"Authorization": header.encode()})
            assert problem(answer, 401, "unauthenticated") == []
            assert answer.headers["www-authenticate"].startswith('Bearer realm="outbox"')


async def test_a_token_that_does_not_fit_is_401(api: httpx.AsyncClient, token: str) -> None:
    claims = jwt.decode(token, options={"verify_signature": False})
    for name, value in (("exp", 1), ("aud", "other"), ("iss", "other"), ("exp", None), ("sub", None)):
        changed = {key: kept for key, kept in (claims | {name: value}).items() if kept is not None}
        wrong = jwt.encode(changed, SECRET, "HS256")
        answer = await api.post("/v1/notifications", json=ONE, headers={"Authorization": f"Bearer {wrong}"})
        assert problem(answer, 401, "unauthenticated") == [], (name, value)
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert wrong not in answer.text


async def test_a_user_s_token_is_403(api: httpx.AsyncClient, settings: Settings) -> None:
    token = issue(settings, "u-1", Scope.USER, timedelta(minutes=1))
    answer = await api.post("/v1/notifications", json=ONE, headers={"Authorization": f"Bearer {token}"})
    assert problem(answer, 403, "forbidden") == []
    assert 'scope="producer"' in answer.headers["www-authenticate"]


async def test_other_paths_and_methods_are_problems_too(api: httpx.AsyncClient) -> None:
    assert problem(await api.get("/v2"), 404, "not-found") == []
    answer = await api.delete("/v1/notifications")
    assert problem(answer, 405, "method-not-allowed") == []
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST", "of all routes of this path"
    asked = await api.options("/v1/notifications")
    assert (asked.status_code, asked.headers["allow"]) == (204, answer.headers["allow"])


async def test_a_query_that_is_not_known_is_named(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/notifications?dry_run=1", json=ONE)
    assert problem(answer, 422, "invalid") == [("dry_run", "is not known here; known are none")]
    twice = await api.get("/v1/notifications?limit=1&limit=2")
    assert problem(twice, 422, "invalid") == [("limit", "stands twice")]


async def test_an_action_is_no_part_of_an_id(api: httpx.AsyncClient) -> None:
    problem(await api.get("/v1/notifications/x:cancel"), 404, "not-found")
    problem(await api.get("/v1/notifications/"), 404, "not-found")


async def test_a_bug_is_a_500_that_says_nothing_but_where_to_look(
    api: httpx.AsyncClient, admin: Connection, logs: list[Any]
) -> None:
    await admin.execute("ALTER TABLE notify.deliveries RENAME COLUMN reason TO surprise")
    identity = (await api.post("/v1/notifications", json=ONE)).json()["id"]
    answer = await api.get(f"/v1/notifications/{identity}")
    assert problem(answer, 500, "internal") == []
    [line] = [line for line in logs if line["event"] == "api.failed"]
    assert line["incident"] in answer.json()["detail"]
    assert "surprise" not in answer.text
    assert "reason" not in answer.text


async def test_an_outage_of_postgres_is_a_503_and_passes(
    api: httpx.AsyncClient, database: Database, admin: Connection, pool: Pool
) -> None:
    assert (await api.post("/v1/notifications", json=ONE)).status_code == 202
    other = await asyncpg.connect(os.environ["OUTBOX_TEST_ADMIN_URL"])
    try:
        await other.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        await other.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE usename = 'outbox_test_app' AND datname = '{database.name}'"
        )
        answer = await api.post("/v1/notifications", json=ONE)
        # A connection that died while nobody looked may be met: what was sent on it may have come through.
        kind = answer.json()["type"].rpartition(":")[2]
        assert kind in {"unavailable", "outcome-unknown"}
        assert problem(answer, 503, kind) == []
        assert int(answer.headers["retry-after"]) > 0
    finally:
        await other.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
        await other.close()
    assert (await api.post("/v1/notifications", json=ONE)).status_code == 202
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 2


async def test_an_outage_amid_a_request_leaves_nothing_half_done(
    api: httpx.AsyncClient, admin: Connection
) -> None:
    async with admin.transaction():
        await admin.execute("LOCK TABLE notify.notifications IN EXCLUSIVE MODE")
        request = asyncio.create_task(api.post("/v1/notifications", json=ONE))
        deadline = time.monotonic() + 60
        while not await admin.fetchval(TERMINATE_WAITING):
            assert time.monotonic() < deadline, "the request never reached the table"
        assert problem(await request, 503, "outcome-unknown") == []
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 0
    assert (await api.post("/v1/notifications", json=ONE)).status_code == 202


async def test_a_pool_that_is_used_up_is_a_503(
    settings: Settings, database: Database, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection is taken and none comes back: the request must not wait for ever."""
    monkeypatch.setattr("outbox.api.gathering.ACQUIRE_SECONDS", 0.05)
    small = await open_pool(database.app, name="small", size=1)
    transport = httpx.ASGITransport(create_app(settings, small, Health()))
    async with small.acquire(), httpx.AsyncClient(transport=transport, base_url="http://api") as api:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await api.post("/v1/notifications", json=ONE, headers=headers)
    assert problem(answer, 503, "unavailable") == []
    await small.close()


async def test_requests_are_counted_by_route_not_by_path(api: httpx.AsyncClient) -> None:
    def count(route: str, method: str, status: str) -> float:
        labels = {"route": route, "method": method, "status": status}
        return REGISTRY.get_sample_value("outbox_api_requests_total", labels) or 0.0

    seen = (
        ("/v1/notifications", "POST", "202"),
        ("/v1/notifications/{id:bare}", "GET", "422"),
        ("unmatched", "GET", "404"),
        ("unmatched", "other", "404"),
    )
    before = [count(*labels) for labels in seen]
    await api.post("/v1/notifications", json=ONE)
    await api.get("/v1/notifications/x")
    await api.get("/some/path/nobody/knows")
    await api.request("BREW", "/coffee")
    assert [count(*labels) for labels in seen] == [value + 1 for value in before]


async def test_a_hang_up_amid_a_body_leaves_nothing(
    settings: Settings, pool: Pool, token: str, admin: Connection
) -> None:
    parts = [
        {"type": "http.request", "body": b'{"event_type": "a", ', "more_body": True},
        {"type": "http.disconnect"},
    ]
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/notifications",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await create_app(settings, pool, Health())(scope, receive, send)
    assert sent[0]["status"] == 499
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 0
