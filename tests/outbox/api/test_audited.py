"""Every route by which an administrator changes something leaves one entry in the audit log: each is driven until it
succeeds, and a new one without a drive fails."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from db.pool import Connection, Pool
from outbox.api.app import create_app
from outbox.api.contract import Endpoint
from outbox.audit import pseudonym
from outbox.probes import Health
from outbox.settings import Settings
from outbox.tokens import Scope, issue

Drive = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
ANY = {"If-Match": "*"}
WELCOME = "/v1/templates/email/hello"
SOURCES = {"subject": "Hello", "body_text": "Hello {{ user_id }}"}
ADDRESS = {"channel": "email", "address": "Ann@example.org"}


def call(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Drive:
    async def drive(api: httpx.AsyncClient) -> httpx.Response:
        return await api.request(method, path, json=body, headers=headers)

    return drive


def on_key(method: str, body: Any = None) -> Drive:
    async def drive(api: httpx.AsyncClient) -> httpx.Response:
        made = await api.post("/v1/api-keys", json={"name": "k", "scopes": ["producer"]})
        return await api.request(method, f"/v1/api-keys/{made.json()['id']}", json=body, headers=ANY)

    return drive


def after(first: Drive, then: Drive) -> Drive:
    async def drive(api: httpx.AsyncClient) -> httpx.Response:
        assert (await first(api)).status_code < 300
        return await then(api)

    return drive


ADD_CHANNEL = call("POST", "/v1/channels", {"name": "hooks"})
RECIPIENT, ANN = "/v1/recipients/{user_id:path}", "/v1/recipients/ann@example.org"
PUT_ANN = call("PUT", ANN, {"email": "ann@example.org"})
PUBLISH = call("PUT", WELCOME, SOURCES)
DRIVES: dict[tuple[str, str], tuple[str, Drive]] = {
    ("POST", "/v1/channels"): ("channel.add", ADD_CHANNEL),
    ("PATCH", "/v1/channels/{name}"): (
        "channel.change",
        call("PATCH", "/v1/channels/sms", {"enabled": False}, ANY),
    ),
    ("DELETE", "/v1/channels/{name}"): (
        "channel.remove",
        after(ADD_CHANNEL, call("DELETE", "/v1/channels/hooks", headers=ANY)),
    ),
    ("PUT", "/v1/templates/{channel}/{name}"): ("template.publish", PUBLISH),
    ("POST", "/v1/templates/{channel}/{name}:test"): (
        "template.test",
        after(PUBLISH, call("POST", f"{WELCOME}:test", {"user_id": "u-1"})),
    ),
    ("POST", "/v1/templates/{channel}/{name}/versions/{version}:restore"): (
        "template.restore",
        after(PUBLISH, call("POST", f"{WELCOME}/versions/1:restore", headers={"If-Match": '"1"'})),
    ),
    ("POST", "/v1/dead-letters:redrive"): (
        "dead_letters.redrive",
        call("POST", "/v1/dead-letters:redrive", {"filter": {}}),
    ),
    ("POST", "/v1/dead-letters:discard"): (
        "dead_letters.discard",
        call("POST", "/v1/dead-letters:discard", {"filter": {}, "dry_run": True}),
    ),
    ("POST", "/v1/suppressions"): (
        "suppression.add",
        call("POST", "/v1/suppressions", ADDRESS | {"reason": "asked us to"}),
    ),
    ("POST", "/v1/suppressions:remove"): (
        "suppression.remove",
        call("POST", "/v1/suppressions:remove", ADDRESS),
    ),
    ("POST", "/v1/erasures"): ("user.erase", call("POST", "/v1/erasures", {"user_id": "u-1"})),
    ("GET", "/v1/users/{user_id:path}/export"): (
        "user.export",
        call("GET", "/v1/users/ann@example.org/export"),
    ),
    ("PUT", RECIPIENT): ("recipient.put", PUT_ANN),
    ("PATCH", RECIPIENT): ("recipient.change", after(PUT_ANN, call("PATCH", ANN, {"locale": "de"}))),
    ("DELETE", RECIPIENT): ("recipient.remove", after(PUT_ANN, call("DELETE", ANN))),
    ("POST", "/v1/api-keys"): (
        "key.make",
        call("POST", "/v1/api-keys", {"name": "k", "scopes": ["producer"]}),
    ),
    ("PATCH", "/v1/api-keys/{id}"): ("key.change", on_key("PATCH", {"name": "other"})),
    ("DELETE", "/v1/api-keys/{id}"): ("key.revoke", on_key("DELETE")),
}


@pytest.fixture
def admin_api(api: httpx.AsyncClient, settings: Settings) -> httpx.AsyncClient:
    token = issue(settings, "ops", Scope.ADMIN, timedelta(minutes=5))
    api.headers["Authorization"] = f"Bearer {token}"
    return api


async def test_each_act_leaves_one_entry_that_names_it(
    admin_api: httpx.AsyncClient, admin: Connection
) -> None:
    for route, (action, drive) in DRIVES.items():
        # On a fresh ground each: what one leaves must not stand in another's way.
        await admin.execute("DELETE FROM notify.channels WHERE name = 'hooks'; TRUNCATE notify.audit_log")
        answer = await drive(admin_api)
        assert answer.status_code < 300, (route, answer.text)
        found = await admin.fetch(
            "SELECT actor, via, detail, request_id FROM notify.audit_log WHERE action = $1", action
        )
        assert [tuple(row)[:2] for row in found] == [("ops", "token")], route
        assert found[0]["request_id"] == answer.headers["x-request-id"]
        assert "ann@example.org" not in str([json.loads(row["detail"]) for row in found]).lower()


async def test_of_a_recipient_it_tells_what_was_changed_and_of_whom_only_to_who_knows_them(
    admin_api: httpx.AsyncClient, settings: Settings
) -> None:
    await admin_api.put(ANN, json={"email": "ann@example.org", "locale": "de"})
    await admin_api.patch(ANN, json={"locale": "de", "time_zone": "Europe/Vienna"})
    await admin_api.delete(ANN)
    target = pseudonym(settings, "ann@example.org")
    found = (await admin_api.get(f"/v1/audit-log?target={target}")).json()["audit_log"]
    assert [(each["action"], each["detail"]["changed"]) for each in found] == [
        ("recipient.remove", ["email", "locale", "time_zone"]),
        ("recipient.change", ["time_zone"]),
        ("recipient.put", ["email", "locale"]),
    ]


async def test_what_producers_and_people_do_themselves_is_no_administrator_s_act(
    api: httpx.AsyncClient, settings: Settings, admin: Connection
) -> None:
    assert (await api.put(ANN, json={"locale": "de"})).status_code == 201
    own = issue(settings, "ann@example.org", Scope.USER, timedelta(minutes=5))
    exported = await api.get("/v1/users/ann@example.org/export", headers={"Authorization": f"Bearer {own}"})
    assert exported.status_code == 200
    assert not await admin.fetchval("SELECT count(*) FROM notify.audit_log")


def test_every_route_that_acts_has_a_drive(settings: Settings, pool: Pool) -> None:
    acting = {
        (method, route.path.replace(":bare}", "}"))
        for route in create_app(settings, pool, Health()).routes
        if isinstance(route, Endpoint)
        for method in (route.methods or set()) - {"HEAD"}
        if route.contract.acts(method)
    }
    assert acting == set(DRIVES)
