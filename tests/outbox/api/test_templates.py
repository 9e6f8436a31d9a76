"""/v1/templates, for an administrator only."""

import json
from typing import Any

import httpx
import pytest

from db.pool import Connection
from tests.outbox.api.answers import problem
from tests.outbox.api.test_dead_letters import as_admin

__all__ = ["as_admin"]  # a fixture

WELCOME = "/v1/templates/email/welcome"


async def test_published_version_by_version(as_admin: httpx.AsyncClient) -> None:
    first = await as_admin.put(WELCOME, json={"subject": "Hi {{ user_id }}", "body_text": "a"})
    assert (first.status_code, first.json()["version"], first.headers["etag"]) == (201, 1, '"1"')
    same = await as_admin.put(WELCOME, json={"subject": "Hi {{ user_id }}", "body_text": "a"})
    assert (same.status_code, same.json()["version"]) == (200, 1)
    second = await as_admin.put(WELCOME, json={"subject": "Hello"}, headers={"If-Match": '"1"'})
    assert (second.status_code, second.json()["version"]) == (201, 2)
    german = await as_admin.put(WELCOME, params={"locale": "de"}, json={"subject": "Hallo"})
    assert german.json()["version"] == 1
    shown = await as_admin.get(WELCOME)
    assert shown.headers["etag"] == '"2"'
    assert [each["subject"] for each in shown.json()["versions"]] == ["Hello", "Hi {{ user_id }}"]
    listed = (await as_admin.get("/v1/templates?channel=email")).json()["templates"]
    assert [(each["name"], each["locale"], each["version"]) for each in listed] == [
        ("default", "", 1),
        ("welcome", "", 2),
        ("welcome", "de", 1),
    ]


async def test_an_edit_is_not_lost(as_admin: httpx.AsyncClient) -> None:
    await as_admin.put(WELCOME, json={"subject": "one"}, headers={"If-None-Match": "*"})
    again = await as_admin.put(WELCOME, json={"subject": "two"}, headers={"If-None-Match": "*"})
    problem(again, 412, "outdated")
    assert again.headers["etag"] == '"1"'
    problem(await as_admin.put(WELCOME, json={"subject": "x"}, headers={"If-Match": '"7"'}), 412, "outdated")
    problem(await as_admin.put(WELCOME, json={"subject": "x"}, headers={"If-Match": "W/x"}), 412, "outdated")
    both = {"If-Match": '"1"', "If-None-Match": "*"}
    problem(await as_admin.put(WELCOME, json={"subject": "x"}, headers=both), 412, "outdated")
    odd = await as_admin.put(WELCOME, json={"subject": "x"}, headers={"If-None-Match": '"1"'})
    assert problem(odd, 422, "invalid") == [("If-None-Match", "must be *")]


async def test_a_channel_that_is_not_there_has_no_templates(as_admin: httpx.AsyncClient) -> None:
    problem(await as_admin.put("/v1/templates/fax/welcome", json={}), 404, "not-found")


@pytest.mark.parametrize(
    ("path", "body", "field", "rule"),
    [
        (WELCOME, {"body_html": "a\n{% if %}"}, "template", "html line 2"),
        (WELCOME, {"subject": "a\nb"}, "subject", "control characters"),
        (WELCOME, {"colour": "red"}, "colour", "is not known here"),
        (WELCOME, {"body_text": "a\x00b"}, "body_text", "NUL"),
        (WELCOME, {"body_html": "\ud800"}, "body", "hex escape"),
        ("/v1/templates/email/-x", {}, "name", "should match"),
        (WELCOME + "?locale=_", {}, "locale", "should match"),
        (WELCOME + "?lang=de", {}, "lang", "is not known here"),
    ],
)
async def test_what_cannot_be_published(
    as_admin: httpx.AsyncClient, path: str, body: dict[str, Any], field: str, rule: str
) -> None:
    sent = await as_admin.put(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    [(name, detail)] = problem(sent, 422, "invalid")
    assert name == field
    assert rule in detail


async def test_preview_with_a_layout(as_admin: httpx.AsyncClient) -> None:
    await as_admin.put(
        "/v1/templates/email/base", json={"body_html": "<main>{% block b %}{% endblock %}</main>"}
    )
    source = "{% extends 'base' %}{% block b %}{{ payload.title }}{% endblock %}"
    await as_admin.put(WELCOME, json={"subject": "{{ payload.title }}", "body_html": source})
    shown = await as_admin.post(WELCOME + ":preview", json={"payload": {"title": "<3"}})
    assert shown.json() == {"subject": "<3", "text": "", "html": "<main>&lt;3</main>"}
    missing = await as_admin.post(WELCOME + ":preview", json={"payload": {}})
    [(field, detail)] = problem(missing, 422, "invalid")
    assert field == "template"
    assert "'dict object' has no attribute 'title'" in detail
    draft = {"draft": {"subject": "new: {{ payload.n + 1 }}"}, "payload": {"n": 1}}
    assert (await as_admin.post(WELCOME + ":preview", json=draft)).json()["subject"] == "new: 2"
    problem(await as_admin.post("/v1/templates/email/none:preview", json={}), 404, "not-found")


async def test_a_test_goes_the_road_of_all(as_admin: httpx.AsyncClient, admin: Connection) -> None:
    await as_admin.put(WELCOME, json={"subject": "Hi"})
    sent = await as_admin.post(WELCOME + ":test", json={"user_id": "ada", "payload": {"n": 1}})
    assert sent.status_code == 202
    row = await admin.fetchrow("SELECT event_type, template_name, channels, user_id FROM notify.outbox")
    assert row is not None
    assert tuple(row) == ("template.test", "welcome", ["email"], "ada")
    problem(await as_admin.post("/v1/templates/email/none:test", json={"user_id": "ada"}), 404, "not-found")


async def test_a_producer_may_not(api: httpx.AsyncClient) -> None:
    problem(await api.put(WELCOME, json={}), 403, "forbidden")
    problem(await api.get("/v1/templates"), 403, "forbidden")


async def test_a_version_is_shown_and_put_in_force_again(
    as_admin: httpx.AsyncClient, admin: Connection
) -> None:
    for subject in ("one", "two"):
        await as_admin.put(WELCOME, json={"subject": subject}, params={"locale": "de"})
    old = f"{WELCOME}/versions/1"
    shown = await as_admin.get(old, params={"locale": "de"})
    assert (shown.json()["subject"], shown.json()["version"]) == ("one", 1)
    late = await as_admin.post(f"{old}:restore", params={"locale": "de"}, headers={"If-Match": '"1"'})
    problem(late, 412, "outdated")
    restored = await as_admin.post(f"{old}:restore", params={"locale": "de"}, headers={"If-Match": '"2"'})
    assert (restored.status_code, restored.json()["version"], restored.headers["etag"]) == (201, 3, '"3"')
    again = await as_admin.post(f"{old}:restore", params={"locale": "de"})
    assert (again.status_code, again.json()["version"]) == (200, 3)
    newest = (await as_admin.get(WELCOME, params={"locale": "de"})).json()["versions"][0]
    assert (newest["version"], newest["subject"]) == (3, "one")
    entry = await admin.fetchrow(
        "SELECT target, detail->>'restored' AS was, detail->>'version' AS now FROM notify.audit_log"
        " WHERE action = 'template.restore' ORDER BY id LIMIT 1"
    )
    assert tuple(entry or ()) == ("email/welcome", "1", "3")


async def test_a_version_that_is_not_there(as_admin: httpx.AsyncClient) -> None:
    await as_admin.put(WELCOME, json={"subject": "one"})
    for path in (f"{WELCOME}/versions/2", "/v1/templates/email/none/versions/1"):
        problem(await as_admin.get(path), 404, "not-found")
        problem(await as_admin.post(f"{path}:restore"), 404, "not-found")
    for odd in ("0", "x", "99999999999"):
        [(field, _)] = problem(await as_admin.get(f"{WELCOME}/versions/{odd}"), 422, "invalid")
        assert field == "version"


async def test_a_test_to_an_address_needs_no_user(as_admin: httpx.AsyncClient, admin: Connection) -> None:
    """Somebody is made up for it, whom the workers ask for nowhere, and who is forgotten by a test an hour later."""
    await as_admin.put(WELCOME, json={"subject": "Hi"})
    sent = await as_admin.post(f"{WELCOME}:test?locale=de", json={"address": "Ada@Example.org"})
    assert sent.status_code == 202, sent.text
    row = await admin.fetchrow(
        "SELECT r.email, r.phone, r.locale, r.asked_at = 'infinity' AS never FROM notify.recipients r"
        " JOIN notify.outbox o USING (user_id)"
    )
    assert tuple(row or ()) == ("Ada@Example.org", None, "de", True)
    await admin.execute("UPDATE notify.recipients SET updated_at = now() - interval '2 hours'")
    await as_admin.post(f"{WELCOME}:test", json={"address": "bob@example.org"})
    assert [row[0] for row in await admin.fetch("SELECT email FROM notify.recipients")] == ["bob@example.org"]


async def test_no_more_than_a_hundred_addresses_an_hour(
    as_admin: httpx.AsyncClient, admin: Connection
) -> None:
    await as_admin.put(WELCOME, json={"subject": "Hi"})
    await admin.execute(
        "INSERT INTO notify.recipients (user_id) SELECT 'outbox-test:' || n FROM generate_series(1, 99) n"
    )
    one = {"address": "ada@example.org"}
    assert (await as_admin.post(f"{WELCOME}:test", json=one)).status_code == 202
    problem(await as_admin.post(f"{WELCOME}:test", json=one), 503, "busy")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (WELCOME, {"address": "nobody"}, "address"),
        (WELCOME, {"address": "a@b", "user_id": "ada"}, "body"),
        (WELCOME, {}, "body"),
        ("/v1/templates/sms/default", {"address": "a@b"}, "address"),
        ("/v1/templates/push/default", {"address": "a@b"}, "channel"),
        ("/v1/templates/fax/default", {"address": "a@b"}, "channel"),
    ],
)
async def test_a_test_needs_one_who_can_be_reached(
    as_admin: httpx.AsyncClient, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await as_admin.post(f"{path}:test", json=body)
    assert problem(answer, 422, "invalid")[0][0] == field
