"""GET /v1/audit-log, and its pruning."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from db.pool import Connection, Pool
from outbox.api.audit_log import PRUNE_ROWS, PRUNE_SECONDS, AuditLog
from outbox.audit import pseudonym, record
from outbox.settings import Settings
from outbox.tokens import Identity, Scope, issue
from tests.outbox.api.answers import problem

ACTS = [
    ("ann", "channel.change", "email"),
    ("bob", "channel.change", "sms"),
    ("ann", "suppression.add", "p_1"),
    ("bob", "channel.remove", "fax"),
]


@pytest.fixture
async def admin_api(api: httpx.AsyncClient, settings: Settings, pool: Pool) -> httpx.AsyncClient:
    token = issue(settings, "ops", Scope.ADMIN, timedelta(minutes=5))
    api.headers["Authorization"] = f"Bearer {token}"
    async with pool.acquire() as conn:
        for actor, action, target in ACTS:
            who = Identity(actor, frozenset({"admin"}), datetime.now(UTC))
            await record(conn, who, action, target, {"n": 1})
        name = pseudonym(settings, "eve@example.org")
        await record(conn, who, "suppression.remove", f"email {name}")
    return api


async def targets(api: httpx.AsyncClient, query: str = "") -> list[str]:
    answer = await api.get(f"/v1/audit-log{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return [entry["target"] for entry in answer.json()["audit_log"]]


async def test_newest_first_page_by_page(admin_api: httpx.AsyncClient) -> None:
    seen, query = [], "?limit=2"
    for _ in range(3):
        answer = (await admin_api.get(f"/v1/audit-log{query}")).json()
        seen += [entry["action"] for entry in answer["audit_log"]]
        query = f"?limit=2&cursor={answer['next_cursor']}"
    assert seen == ["suppression.remove", *[action for _, action, _ in reversed(ACTS)]]
    assert answer["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?actor=bob&action=channel.change", ["sms"]),
        ("?action=channel.change", ["sms", "email"]),
        ("?target=fax", ["fax"]),
        ("?target=%00", []),
        ("?since=2199-01-01T00:00:00Z", []),
        ("?until=2199-01-01T00:00:00Z&limit=1&target=email", ["email"]),
    ],
)
async def test_by_who_what_and_when(admin_api: httpx.AsyncClient, query: str, expected: list[str]) -> None:
    assert await targets(admin_api, query) == expected


async def test_whoever_knows_a_name_finds_it_by_its_pseudonym(
    admin_api: httpx.AsyncClient, settings: Settings, admin: Connection
) -> None:
    expected = ["email " + pseudonym(settings, "eve@example.org")]
    for spelling in ("eve%40example.org", "Eve%40Example.ORG"):
        assert await targets(admin_api, f"?about={spelling}") == expected
    assert await targets(admin_api, "?about=someone-else") == []
    assert "eve@" not in str(await admin.fetch("SELECT t::text FROM notify.audit_log t"))


@pytest.mark.parametrize("query", ["?cursor=x", "?cursor=0", "?limit=501", "?since=yesterday", "?odd=1"])
async def test_an_odd_query_is_refused(admin_api: httpx.AsyncClient, query: str) -> None:
    problem(await admin_api.get(f"/v1/audit-log{query}"), 422, "invalid")


async def test_what_is_past_the_retention_is_pruned(
    admin_api: httpx.AsyncClient, admin: Connection, pool: Pool, settings: Settings
) -> None:
    log = AuditLog(settings.model_copy(update={"audit_retention": timedelta(days=30)}), pool)
    await admin.execute("UPDATE notify.audit_log SET at = now() - interval '31 days' WHERE target <> 'sms'")
    assert await log.prune() == PRUNE_SECONDS
    assert await targets(admin_api) == ["sms"]
    await admin.execute(
        "INSERT INTO notify.audit_log (actor, via, action, target, at)"
        " SELECT 'a', 'token', 'a.b', 't', now() - interval '31 days' FROM generate_series(1, $1)",
        PRUNE_ROWS + 1,
    )
    assert await log.prune() == 0
    assert await log.prune() == PRUNE_SECONDS
    assert await targets(admin_api) == ["sms"]
