"""/v1/suppressions: what is on the list, why and since when; added and removed by people, and audited."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from db.pool import Connection
from outbox import audit
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.outbox.api.answers import problem

LIST = "/v1/suppressions"
ADA = {"channel": "email", "address": "Ada@Example.org"}


@pytest.fixture
def admin_api(api: httpx.AsyncClient, settings: Settings) -> httpx.AsyncClient:
    token = issue(settings, "ops", Scope.ADMIN, timedelta(minutes=5))
    api.headers["Authorization"] = f"Bearer {token}"
    return api


async def addresses(api: httpx.AsyncClient, **query: Any) -> list[str]:
    found, cursor = [], None
    while True:
        answer = await api.get(LIST, params=query | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        found += [f"{one['channel']} {one['address']}" for one in answer.json()["suppressions"]]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return found


async def test_added_shown_and_removed(
    admin_api: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    added = await admin_api.post(LIST, json=ADA | {"reason": "asked for it by phone"})
    assert added.status_code == 201, added.text
    assert added.json() == {
        "channel": "email",
        "address": "ada@example.org",
        "reason": "asked for it by phone",
        "created_at": added.json()["created_at"],
    }
    again = await admin_api.post(LIST, json=ADA | {"reason": "another"})
    assert (again.status_code, again.json()) == (200, added.json())
    page = (await admin_api.get(LIST, params=ADA)).json()
    assert page == {"suppressions": [added.json()], "next_cursor": None}
    removed = await admin_api.post(f"{LIST}:remove", json=ADA)
    assert removed.json() == {"removed": added.json()}
    assert (await admin_api.post(f"{LIST}:remove", json=ADA)).json() == {"removed": None}
    assert await addresses(admin_api) == []
    rows = await admin.fetch(
        "SELECT action, target, detail->>'changed' AS changed FROM notify.audit_log ORDER BY id"
    )
    target = f"email {audit.pseudonym(settings, 'ada@example.org')}"
    assert [tuple(row) for row in rows] == [
        ("suppression.add", target, "true"),
        ("suppression.add", target, "false"),
        ("suppression.remove", target, "true"),
        ("suppression.remove", target, "false"),
    ]


async def test_listed_page_by_page(admin_api: httpx.AsyncClient, admin: Connection) -> None:
    await admin.execute(
        "INSERT INTO notify.suppressions (channel, address, reason)"
        " SELECT c, 'x' || n, 'bounce' FROM unnest('{email,sms}'::text[]) c, generate_series(1, 5) n"
    )
    every = [f"{channel} x{n}" for channel in ("email", "sms") for n in range(1, 6)]
    for limit in (1, 3, 5, 10):
        assert await addresses(admin_api, limit=limit) == every
        assert await addresses(admin_api, limit=limit, channel="email") == every[:5]
    assert await addresses(admin_api, address="X3") == ["email x3", "sms x3"]
    assert await addresses(admin_api, address="X3", channel="sms") == ["sms x3"]
    assert await addresses(admin_api, channel="fax") == []


@pytest.mark.parametrize(
    ("changed", "field", "rule"),
    [
        ({"channel": "fax"}, "channel", "is not known"),
        ({"channel": "inapp"}, "channel", "of kind inapp"),
        ({"channel": "webhook"}, "channel", "only e-mail and SMS"),
        ({"address": "ada"}, "address", "e-mail address"),
        ({"address": "a\u2028b@c"}, "address", "control characters"),
        ({"channel": "sms"}, "address", "E.164"),
        ({"reason": ""}, "reason", "at least 1"),
        ({"reason": "x" * 201}, "reason", "at most 200"),
        ({"reason": "a\x00"}, "reason", "control characters"),
        ({"reason": None}, "reason", "valid string"),
        ({"since": "now"}, "since", "is not known here"),
    ],
    ids=str,
)
async def test_what_breaks_a_rule_is_named(
    admin_api: httpx.AsyncClient, changed: dict[str, Any], field: str, rule: str
) -> None:
    answer = await admin_api.post(LIST, json=ADA | {"reason": "because"} | changed)
    ((named, detail),) = problem(answer, 422, "invalid")
    assert named == field
    assert rule in detail
    assert await addresses(admin_api) == []


async def test_a_number_is_suppressed_for_sms(admin_api: httpx.AsyncClient) -> None:
    one = {"channel": "sms", "address": " +491701234567 ", "reason": "STOP"}
    assert (await admin_api.post(LIST, json=one)).json()["address"] == "+491701234567"


async def test_only_administrators(api: httpx.AsyncClient) -> None:
    for answer in (
        await api.get(LIST),
        await api.post(LIST, json=ADA | {"reason": "x"}),
        await api.post(f"{LIST}:remove", json=ADA),
    ):
        problem(answer, 403, "forbidden")


@pytest.mark.parametrize(
    "query", ["limit=0", "cursor=WzEsMl0", "cursor=WyJhIl0", "channel=A", "address=", "a=b"]
)
async def test_what_is_no_query_is_refused(admin_api: httpx.AsyncClient, query: str) -> None:
    ((field, _),) = problem(await admin_api.get(f"{LIST}?{query}"), 422, "invalid")
    assert field == query.partition("=")[0]
