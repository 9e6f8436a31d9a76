"""/v1/erasures and the export: who may, what a receipt says, and that an export holds everything."""

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from db.pool import Connection
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.outbox.api.answers import problem

EXPORT = "/v1/users/ada/export"


def using(api: httpx.AsyncClient, settings: Settings, subject: str, scope: Scope) -> httpx.AsyncClient:
    api.headers["Authorization"] = f"Bearer {issue(settings, subject, scope, timedelta(minutes=5))}"
    return api


@pytest.fixture
def ops(api: httpx.AsyncClient, settings: Settings) -> httpx.AsyncClient:
    return using(api, settings, "ops", Scope.ADMIN)


async def test_an_erasure_is_begun_and_followed(ops: httpx.AsyncClient, admin: Connection) -> None:
    begun = await ops.post("/v1/erasures", json={"user_id": "ada", "addresses": ["old@example.com"]})
    assert begun.status_code == 202, begun.text
    receipt = begun.json()
    assert begun.headers["location"].endswith(f"/v1/erasures/{receipt['id']}")
    assert begun.headers["cache-control"] == "no-store"
    assert "ada" not in begun.text
    assert (receipt["status"], receipt["erased"], receipt["finished_at"]) == ("running", {}, None)
    shown = await ops.get(f"/v1/erasures/{receipt['id']}")
    assert shown.json() == receipt
    act = await admin.fetchrow("SELECT actor, action, target, detail FROM notify.audit_log")
    assert act is not None
    assert tuple(act)[:3] == ("ops", "user.erase", receipt["subject"])
    assert json.loads(act["detail"]) == {"erasure": receipt["id"]}


async def test_asking_again_while_it_runs_begins_no_other(ops: httpx.AsyncClient, admin: Connection) -> None:
    first, again, other = [
        (await ops.post("/v1/erasures", json={"user_id": user})).json() for user in ("ada", "ada", "bob")
    ]
    assert first == again
    assert other["id"] != first["id"]
    assert other["subject"] != first["subject"]
    await admin.execute("UPDATE notify.erasures SET finished_at = now(), user_id = NULL, addresses = NULL")
    later = (await ops.post("/v1/erasures", json={"user_id": "ada"})).json()
    assert later["id"] != first["id"]
    assert later["subject"] == first["subject"], "so one can ask whether somebody was erased"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\x00"}, "user_id"),
        ({"user_id": "x" * 201}, "user_id"),
        ({"user_id": "ada", "addresses": ["a"] * 101}, "addresses"),
        ({"user_id": "ada", "all": True}, "all"),
    ],
)
async def test_what_cannot_be_erased(ops: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    [(named, _)] = problem(await ops.post("/v1/erasures", json=body), 422, "invalid")
    assert named == field


async def test_an_erasure_that_is_not_there(ops: httpx.AsyncClient) -> None:
    answer = await ops.get("/v1/erasures/01890a5d-ac96-774b-bcce-b302099a8057")
    problem(answer, 404, "not-found")
    problem(await ops.get("/v1/erasures/ada"), 422, "invalid-notification")


async def test_only_administrators_erase(api: httpx.AsyncClient, settings: Settings) -> None:
    for scope in (Scope.PRODUCER, Scope.USER):
        using(api, settings, "ada", scope)
        problem(await api.post("/v1/erasures", json={"user_id": "ada"}), 403, "forbidden")


async def test_an_export_is_for_the_person_and_for_administrators(
    api: httpx.AsyncClient, settings: Settings
) -> None:
    for subject, scope in (("ada", Scope.USER), ("ops", Scope.ADMIN)):
        assert (await using(api, settings, subject, scope).get(EXPORT)).status_code == 200
    for subject, scope in (("bob", Scope.USER), ("shop", Scope.PRODUCER)):
        problem(await using(api, settings, subject, scope).get(EXPORT), 403, "forbidden")


async def test_an_export_of_a_stranger_is_empty(ops: httpx.AsyncClient) -> None:
    exported = await ops.get("/v1/users/no/such/one/export")
    assert exported.headers["cache-control"] == "no-store"
    assert exported.headers["content-disposition"] == 'attachment; filename="export.json"'
    document = exported.json()
    assert (document["user_id"], document["recipient"], document["notifications"]) == (
        "no/such/one",
        None,
        [],
    )
    problem(await ops.get("/v1/users/a%00/export"), 422, "invalid")


async def test_an_export_holds_every_notification_in_order(
    ops: httpx.AsyncClient, producer: Connection
) -> None:
    await producer.executemany(
        "INSERT INTO notify.outbox (event_type, user_id, payload) VALUES ('a', 'ada', $1)",
        [(json.dumps({"number": number}),) for number in range(250)],
    )
    await producer.execute(
        "INSERT INTO notify.outbox (event_type, user_id, actor_user_id, payload)"
        " VALUES ('liked', 'bob', 'ada', '{\"secret\": 1}')"
    )
    document = (await ops.get(EXPORT)).json()
    assert [each["payload"]["number"] for each in document["notifications"]] == list(range(250))
    [acted] = document["acted_in"]
    assert acted["event_type"] == "liked"
    assert "payload" not in acted, "the rest is somebody else's"
