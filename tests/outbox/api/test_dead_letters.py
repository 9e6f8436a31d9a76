"""/v1/dead-letters, for an administrator only."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from db.pool import Connection
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.db.test_dead import letter
from tests.outbox.api.answers import problem


@pytest.fixture
def as_admin(api: httpx.AsyncClient, settings: Settings) -> httpx.AsyncClient:
    api.headers["Authorization"] = f"Bearer {issue(settings, 'ops', Scope.ADMIN, timedelta(minutes=5))}"
    return api


async def test_listed_page_by_page(as_admin: httpx.AsyncClient, admin: Connection) -> None:
    sent = [str(await letter(admin)) for _ in range(3)]
    await letter(admin, channel="sms")
    first = (await as_admin.get("/v1/dead-letters?channel=email&limit=2")).json()
    rest = (
        await as_admin.get(
            "/v1/dead-letters", params={"channel": "email", "limit": 2, "cursor": first["next_cursor"]}
        )
    ).json()
    found = [item["notification_id"] for item in first["dead_letters"] + rest["dead_letters"]]
    assert found == sent[::-1]
    assert rest["next_cursor"] is None
    shown = first["dead_letters"][0]
    assert (shown["error_class"], shown["reason"], shown["payload"], shown["event_type"]) == (
        "smtp_5xx",
        "because",
        {},
        "a",
    )


async def test_counted(as_admin: httpx.AsyncClient, admin: Connection) -> None:
    for channel in ("email", "email", "sms"):
        await letter(admin, channel=channel)
    body = (await as_admin.get("/v1/dead-letters:count")).json()
    assert body["total"] == 3
    assert body["kinds"][0] == {"channel": "email", "error_class": "smtp_5xx", "letters": 2}


async def test_redriven(as_admin: httpx.AsyncClient, admin: Connection) -> None:
    notification_id = await letter(admin)
    trial = await as_admin.post("/v1/dead-letters:redrive", json={"filter": {}, "dry_run": True})
    assert trial.json()["dead_letters"][0]["answer"] == "redriven"
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 0
    since = {"channel": "email", "since": "2020-01-01T00:00:00Z"}
    answer = await as_admin.post("/v1/dead-letters:redrive", json={"filter": since})
    assert [item["answer"] for item in answer.json()["dead_letters"]] == ["redriven"]
    assert await admin.fetchval("SELECT notification_id FROM notify.scheduled") == notification_id


async def test_discarded_by_id(as_admin: httpx.AsyncClient, admin: Connection) -> None:
    await letter(admin)
    letter_id = str(await admin.fetchval("SELECT id FROM notify.notifications_failed"))
    answer = await as_admin.post("/v1/dead-letters:discard", json={"ids": [letter_id]})
    assert [item["answer"] for item in answer.json()["dead_letters"]] == ["discarded"]
    again = await as_admin.post("/v1/dead-letters:discard", json={"ids": [letter_id]})
    assert [item["answer"] for item in again.json()["dead_letters"]] == ["gone"]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda api: api.get("/v1/dead-letters?limit=0"), "limit"),
        (lambda api: api.get("/v1/dead-letters?since=yesterday"), "since"),
        (lambda api: api.get("/v1/dead-letters?cursor=%FF"), "cursor"),
        (lambda api: api.get("/v1/dead-letters?colour=red"), "colour"),
        (lambda api: api.get("/v1/dead-letters?until=0.5"), "until"),
        (lambda api: api.post("/v1/dead-letters:redrive", json={"filter": {"since": 5}}), "filter.since"),
        (lambda api: api.post("/v1/dead-letters:redrive", json={"filter": {}, "dry_run": 1}), "dry_run"),
        (lambda api: api.post("/v1/dead-letters:redrive", json={}), "body"),
        (lambda api: api.post("/v1/dead-letters:redrive", json={"ids": ["x"]}), "ids.0"),
        (lambda api: api.post("/v1/dead-letters:redrive", json={"filter": {"user": 1}}), "filter.user"),
    ],
)
async def test_wrong_questions_name_the_field(
    as_admin: httpx.AsyncClient, ask: Callable[[httpx.AsyncClient], "object"], field: str
) -> None:
    answer = await ask(as_admin)  # type: ignore[misc]  # a coroutine
    assert [name for name, _ in problem(answer, 422, "invalid")] == [field]


async def test_a_producer_may_not(api: httpx.AsyncClient) -> None:
    problem(await api.get("/v1/dead-letters"), 403, "forbidden")
    problem(await api.post("/v1/dead-letters:redrive", json={"filter": {}}), 403, "forbidden")
