"""/v1/channels: channels as rows, each rule named by its field, no lost updates, nothing removed that is in use."""

from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from db.pool import Connection
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.conftest import Database
from tests.outbox.api.answers import problem

CONFIG = {"url": "https://hooks.example.com/in", "secrets": ["env:HOOK_SECRET"]}
NEW: dict[str, Any] = {"name": "billing-hooks", "config": CONFIG}
ANY = {"If-Match": "*"}


@pytest.fixture
def admin_api(api: httpx.AsyncClient, settings: Settings) -> httpx.AsyncClient:
    token = issue(settings, "ops", Scope.ADMIN, timedelta(minutes=5))
    api.headers["Authorization"] = f"Bearer {token}"
    return api


def broken(answer: httpx.Response) -> list[tuple[str, str]]:
    return problem(answer, 422, "invalid")


async def test_a_producer_s_token_is_not_enough(api: httpx.AsyncClient) -> None:
    for method, path in [
        ("GET", ""),
        ("POST", ""),
        ("GET", "/webhook"),
        ("PATCH", "/webhook"),
        ("DELETE", "/webhook"),
    ]:
        answer = await api.request(method, f"/v1/channels{path}", headers=ANY)
        problem(answer, 403, "forbidden")
        assert 'scope="admin"' in answer.headers["www-authenticate"]


async def test_a_channel_is_added_shown_and_listed(admin_api: httpx.AsyncClient) -> None:
    added = await admin_api.post("/v1/channels", json=NEW | {"max_attempts": 3})
    assert added.status_code == 201, added.text
    assert added.headers["location"].endswith("/v1/channels/billing-hooks")
    assert added.json() == {
        "name": "billing-hooks",
        "kind": "webhook",
        "enabled": True,
        "config": CONFIG,
        "max_attempts": 3,
        "on_unknown": "resend",
        "shards": 1,
        "version": 1,
        "updated_at": added.json()["updated_at"],
    }
    found = await admin_api.get("/v1/channels/billing-hooks")
    assert (found.json(), found.headers["etag"]) == (added.json(), '"1"')
    every = (await admin_api.get("/v1/channels")).json()["channels"]
    assert [each["name"] for each in every] == ["billing-hooks", "email", "inapp", "push", "sms", "webhook"]


async def test_producers_may_use_it_at_once(admin_api: httpx.AsyncClient, producer: Connection) -> None:
    insert = "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('a', 'u', '{billing-hooks}')"
    with pytest.raises(asyncpg.CheckViolationError):
        await producer.execute(insert)
    await admin_api.post("/v1/channels", json=NEW)
    await producer.execute(insert)


async def test_a_name_that_is_taken_is_a_conflict(admin_api: httpx.AsyncClient) -> None:
    problem(await admin_api.post("/v1/channels", json={"name": "email"}), 409, "channel-exists")


@pytest.mark.parametrize(
    ("changed", "field", "rule"),
    [
        ({"name": "Bad Name"}, "name", "should match pattern"),
        ({"name": None}, "name", "valid string"),
        ({"kind": "email"}, "kind", "'webhook'"),
        ({"max_attempts": 0}, "max_attempts", "greater than or equal to 1"),
        ({"max_attempts": "3"}, "max_attempts", "valid integer"),
        ({"enabled": "yes"}, "enabled", "valid boolean"),
        ({"on_unknown": "drop"}, "on_unknown", "'resend' or 'hold'"),
        ({"shards": 3}, "shards", "should be 1, 2, 4, 8, 16, 32 or 64"),
        ({"shards": True}, "shards", "should be 1, 2"),
        ({"shards": 2, "config": {"url": "https://x.example/", "ordered": True}}, "shards", "must be 1 where"),
        ({"colour": "red"}, "colour", "is not known here; known are name, kind, config"),
        ({"config": []}, "config", "valid dictionary"),
        ({"config": {"url": "http://user:pw@x/"}}, "config.url", "must not be written into a config"),
        ({"config": {"url": "http://user@x/"}}, "config.url", "must not hold a login"),
        ({"config": {"url": "file:///etc/passwd"}}, "config.url", "must be like https://host/path"),
        ({"config": {"url": "https://x/\u0000"}}, "config", "NUL"),
        ({"config": {"url": "env:OUTBOX_JWT_SECRET"}}, "config.url", "belongs to the service"),
        ({"config": {"headers": {"A": "env:DATABASE_URL"}}}, "config.headers", "belongs to the service"),
        ({"config": {"headers": {"Host": "x"}}}, "config.headers", "Host is set by the service"),
        ({"config": {"headers": {"A": "b\r\nC: d"}}}, "config.headers", "printable ASCII"),
        ({"config": {"headers": {"A b": "c"}}}, "config.headers", "is no name of a header"),
        ({"config": {"headers": {"Authorization": "Bearer x"}}}, "config.headers.Authorization", "write env:NAME"),
        ({"config": {"secrets": ["whsec_abc"]}}, "config.secrets.0", "write env:NAME"),
        ({"config": {"method": "GET"}}, "config.method", "'POST', 'PUT' or 'PATCH'"),
        ({"config": {"timeout_seconds": 600}}, "config.timeout_seconds", "less than or equal to 30"),
        ({"config": {"ordred": True}}, "config.ordred", "is not known; known are url, method"),
    ],
)  # fmt: skip
async def test_each_broken_rule_is_named(
    admin_api: httpx.AsyncClient, admin: Connection, changed: dict[str, Any], field: str, rule: str
) -> None:
    ((named, detail),) = broken(await admin_api.post("/v1/channels", json=NEW | changed))
    assert named == field
    assert rule in detail
    assert await admin.fetchval("SELECT count(*) FROM notify.channels") == 5


async def test_a_literal_secret_is_not_repeated_in_the_answer(admin_api: httpx.AsyncClient) -> None:
    answer = await admin_api.post("/v1/channels", json=NEW | {"config": {"secrets": ["whsec_topsecret"]}})
    assert "topsecret" not in answer.text


async def test_what_sql_wrote_into_a_config_is_hidden(
    admin_api: httpx.AsyncClient, admin: Connection
) -> None:
    await admin.execute(
        """UPDATE notify.channels SET config = '{"api_key": "SG.x", "list": ["whsec_b"], "from": "a"}'"""
        " WHERE name = 'email'"
    )
    shown = (await admin_api.get("/v1/channels/email")).json()["config"]
    assert shown == {"api_key": "(hidden)", "list": ["(hidden)"], "from": "a"}


async def test_a_change_needs_the_version_that_was_seen(admin_api: httpx.AsyncClient) -> None:
    await admin_api.post("/v1/channels", json=NEW)
    path = "/v1/channels/billing-hooks"
    problem(await admin_api.patch(path, json={"enabled": False}), 428, "precondition-required")
    first = await admin_api.patch(path, json={"enabled": False}, headers={"If-Match": '"1"'})
    assert (first.status_code, first.json()["enabled"], first.headers["etag"]) == (200, False, '"2"')
    assert first.json()["config"] == CONFIG
    late = await admin_api.patch(path, json={"enabled": True}, headers={"If-Match": '"1"'})
    problem(late, 412, "precondition-failed")
    problem(await admin_api.patch(path, json={}, headers={"If-Match": "W/x"}), 412, "precondition-failed")
    again = await admin_api.patch(path, json={"config": {}, "max_attempts": 2}, headers=ANY)
    assert (again.json()["config"], again.json()["max_attempts"], again.json()["version"]) == ({}, 2, 3)


async def test_a_change_keeps_the_rules(admin_api: httpx.AsyncClient) -> None:
    path = "/v1/channels/webhook"
    answers = [
        await admin_api.patch(path, json=change, headers=ANY)
        for change in ({"config": {"url": "x"}}, {"config": None}, {"name": "other"}, {"kind": "email"})
    ]
    assert [broken(answer)[0][0] for answer in answers] == ["config.url", "config", "name", "kind"]


async def test_a_channel_is_cut_into_shards_and_put_together_again(
    admin_api: httpx.AsyncClient, admin: Connection
) -> None:
    async def told() -> tuple[int, ...]:
        row = await admin.fetchrow("SELECT shards, readable FROM notify.shards WHERE channel = 'email'")
        return tuple(row or ())

    cut = await admin_api.patch("/v1/channels/email", json={"shards": 4}, headers={"If-Match": '"1"'})
    assert (cut.json()["shards"], cut.json()["version"], await told()) == (4, 2, (4, 4))
    late = await admin_api.patch("/v1/channels/email", json={"shards": 8}, headers={"If-Match": '"1"'})
    problem(late, 412, "precondition-failed")
    other = await admin_api.patch("/v1/channels/email", json={"enabled": False}, headers=ANY)
    assert other.json()["shards"] == 4, "left out, it stays"
    assert (await admin_api.get("/v1/channels/email")).json()["shards"] == 4
    whole = await admin_api.patch("/v1/channels/email", json={"shards": 1}, headers=ANY)
    assert (whole.json()["shards"], await told()) == (1, (1, 1))
    acts = await admin.fetch(
        "SELECT detail->'before'->'shards', detail->'after'->'shards' FROM notify.audit_log ORDER BY id"
    )
    assert [tuple(act) for act in acts] == [("1", "4"), ("4", "4"), ("4", "1")]


async def test_what_is_sharded_is_not_ordered(admin_api: httpx.AsyncClient) -> None:
    await admin_api.post("/v1/channels", json=NEW | {"shards": 4})
    path, ordered = "/v1/channels/billing-hooks", CONFIG | {"ordered": True}
    ((field, _),) = broken(await admin_api.patch(path, json={"config": ordered}, headers=ANY))
    assert field == "shards"
    both = await admin_api.patch(path, json={"config": ordered, "shards": 1}, headers=ANY)
    assert both.status_code == 200
    ((field, _),) = broken(await admin_api.patch(path, json={"shards": 2}, headers=ANY))
    assert field == "shards"


@pytest.mark.parametrize("name", ["nothing", "%00", "a%2Fb", "é"])
async def test_one_that_is_not_there_is_not_found(admin_api: httpx.AsyncClient, name: str) -> None:
    path = f"/v1/channels/{name}"
    for answer in (
        await admin_api.get(path),
        await admin_api.patch(path, json={}, headers=ANY),
        await admin_api.delete(path, headers=ANY),
    ):
        assert answer.status_code == 404


async def test_an_unused_one_can_be_removed(admin_api: httpx.AsyncClient) -> None:
    await admin_api.post("/v1/channels", json=NEW)
    path = "/v1/channels/billing-hooks"
    problem(await admin_api.delete(path), 428, "precondition-required")
    problem(await admin_api.delete(path, headers={"If-Match": '"7"'}), 412, "precondition-failed")
    assert (await admin_api.delete(path, headers={"If-Match": '"1"'})).status_code == 204
    assert (await admin_api.get(path)).status_code == 404


USES = [
    "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('a', 'u', '{inapp,billing-hooks}')",
    "INSERT INTO notify.outbox (event_type, user_id, channels, deliver_at)"
    " VALUES ('a', 'u', '{billing-hooks}', '2190-01-01Z')",
    "INSERT INTO notify.notifications_failed (channel, error_class, reason) VALUES ('billing-hooks', 'x', 'y')",
    "INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, rows, bytes, max_id)"
    """ VALUES (1, 1, pg_current_snapshot(), '{"billing-hooks.bulk": "1-1"}', 1, 1, 1)""",
    "INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, rows, bytes, max_id)"
    """ VALUES (1, 1, pg_current_snapshot(), '{"billing-hooks.3": "1-1"}', 1, 1, 1)""",
    "INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, behind, rows, bytes, max_id)"
    " VALUES (1, 1, pg_current_snapshot(), '{}', '{billing-hooks}', 1, 1, 1)",
]


@pytest.mark.parametrize("use", USES)
async def test_one_in_use_cannot_be_removed(
    admin_api: httpx.AsyncClient, admin: Connection, use: str
) -> None:
    await admin_api.post("/v1/channels", json=NEW)
    await admin.execute(use)
    answer = await admin_api.delete("/v1/channels/billing-hooks", headers=ANY)
    problem(answer, 409, "channel-in-use")
    assert "enabled = false" in answer.json()["detail"]
    with pytest.raises(asyncpg.RestrictViolationError):
        await admin.execute("DELETE FROM notify.channels WHERE name = 'billing-hooks'")


async def test_a_producer_s_open_transaction_keeps_it(
    admin_api: httpx.AsyncClient, producer: Connection, database: Database
) -> None:
    """It may name the channel, and nobody can see that yet."""
    await admin_api.post("/v1/channels", json=NEW)
    async with producer.transaction():
        await producer.execute(USES[0])
        answer = await admin_api.delete("/v1/channels/billing-hooks", headers=ANY)
        problem(answer, 503, "busy")
    problem(await admin_api.delete("/v1/channels/billing-hooks", headers=ANY), 409, "channel-in-use")


async def test_each_act_is_in_the_audit_log(admin_api: httpx.AsyncClient, admin: Connection) -> None:
    path = "/v1/channels/billing-hooks"
    await admin_api.post("/v1/channels", json=NEW)
    await admin_api.post("/v1/channels", json=NEW)  # a conflict, which is no act
    await admin_api.patch(path, json={"enabled": False}, headers=ANY)
    await admin_api.delete(path, headers=ANY)
    rows = await admin.fetch(
        "SELECT actor, action, target, detail->'before'->'enabled' AS b, detail->'after'->'enabled' AS a"
        " FROM notify.audit_log ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [
        ("ops", "channel.add", "billing-hooks", None, "true"),
        ("ops", "channel.change", "billing-hooks", "true", "false"),
        ("ops", "channel.remove", "billing-hooks", "false", None),
    ]
