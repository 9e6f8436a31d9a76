"""POST /v1/notifications: 202 after the commit, repeats, and every way to get it wrong."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from db.pool import Connection, Pool
from outbox.api.app import create_app
from outbox.probes import Health
from outbox.settings import PROJECT, Settings
from tests.outbox.api.answers import fields, problem

ONE: dict[str, Any] = {"event_type": "order.paid", "user_id": "u-1"}
JSON = {"Content-Type": "application/json"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

# What is changed in a good document, and the fields that the answer has to name.
BROKEN: list[tuple[dict[str, Any], list[str]]] = [
    ({"event_type": None}, ["event_type"]),
    ({"event_type": "order paid"}, ["event_type"]),
    ({"user_id": ""}, ["user_id"]),
    ({"user_id": 7}, ["user_id"]),
    ({"user_id": "a\x00b"}, ["user_id"]),
    ({"channels": []}, ["channels"]),
    ({"channels": ["inapp", "inapp"]}, ["channels"]),
    ({"channels": ["inapp", "FAX"]}, ["channels.1"]),
    ({"channels": ["fax"]}, ["channels"]),
    ({"template_name": "nowhere"}, ["template_name"]),
    ({"payload": [1]}, ["payload"]),
    ({"payload": {"a": "x" * 65_536}}, ["payload"]),
    ({"payload": {"a": [1e300] * 300}}, ["payload"]),
    ({"payload": {"a": "\x00"}}, ["payload"]),
    ({"payload": {"a": "\ud800"}}, ["payload"]),
    ({"priority": "high"}, ["priority"]),
    ({"deliver_at": "tomorrow"}, ["deliver_at"]),
    ({"deliver_at": "2030-01-01T00:00:00"}, ["deliver_at"]),
    ({"deliver_at": 1893456000}, ["deliver_at"]),
    ({"deliver_at": "9999-01-01T00:00:00Z"}, ["deliver_at"]),
    ({"deliver_at": "2030-01-01T00:00:00Z", "expires_at": "2029-01-01T00:00:00Z"}, ["expires_at"]),
    ({"traceparent": "00-x"}, ["traceparent"]),
    ({"colour": "red", "user_id": ""}, ["user_id", "colour"]),
    ({"notification_id": "01890a5d-ac96-774b-bcce-b302099a8057"}, ["notification_id"]),
]
# A body, and a part of the reason for refusing it.
NOT_JSON = [
    (b"", "Expecting value"),
    (b"{", "line 1, column 2"),
    (b"[]", "not an object"),
    (b'"x"', "not an object"),
    (b'{"a": NaN}', "NaN is not JSON"),
    (b'{"a": -Infinity}', "-Infinity is not JSON"),
    (b'{"a": 1, "a": 2}', 'the key "a" stands twice'),
    (b'{"a": {"b": 1, "b": 1}}', 'the key "b" stands twice'),
    (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
    (b'{"a": "\x00"}', "Invalid control character"),
    (b"\xef\xbb\xbf{}", "BOM"),
    (b'{"a":' * 200_000, "nested too deep"),
    (b"[" * 500_000, "nested too deep"),
    (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
]


async def test_it_is_committed_when_the_answer_comes(api: httpx.AsyncClient, admin: Connection) -> None:
    answer = await api.post("/v1/notifications", json=ONE | {"payload": {"note": "süß"}})
    assert answer.status_code == 202
    shown = answer.json()
    assert shown["status_url"].endswith(f"/v1/notifications/{shown['id']}")
    assert answer.headers["location"] == shown["status_url"]
    assert "idempotent-replayed" not in answer.headers
    row = await admin.fetchrow("SELECT id::text, payload FROM notify.notifications")
    assert tuple(row or ()) == (shown["id"], '{"note": "süß"}')
    assert await admin.fetchval("SELECT notification_id::text FROM notify.outbox") == shown["id"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"json": ONE | {"dedup_key": "k"}}, {"json": ONE | {"dedup_key": "k"}}),
        (
            {"json": ONE, "headers": {"Idempotency-Key": "k"}},
            {"json": ONE, "headers": {"Idempotency-Key": "k"}},
        ),
        ({"json": ONE | {"dedup_key": "k"}}, {"json": ONE, "headers": {"idempotency-key": "k"}}),
        (
            {"json": ONE | {"dedup_key": "k", "deliver_at": "2190-01-01T00:00:00Z"}},
            {"json": ONE | {"dedup_key": "k"}, "headers": {"Idempotency-Key": "k"}},
        ),
    ],
    ids=["field", "header", "field then header", "both, for later"],
)
async def test_a_repeat_gets_the_first_id(
    api: httpx.AsyncClient, admin: Connection, first: dict[str, Any], second: dict[str, Any]
) -> None:
    one = await api.post("/v1/notifications", **first)
    two = await api.post("/v1/notifications", **second)
    assert (one.status_code, two.status_code) == (202, 202)
    assert one.json() == two.json()
    assert "idempotent-replayed" not in one.headers
    assert two.headers["idempotent-replayed"] == "true"
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 1


async def test_two_keys_that_differ_are_refused(api: httpx.AsyncClient, admin: Connection) -> None:
    answer = await api.post(
        "/v1/notifications", json=ONE | {"dedup_key": "a"}, headers={"Idempotency-Key": "b"}
    )
    assert fields(answer) == ["dedup_key"]
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 0


async def test_a_wrong_key_in_the_header_is_named_as_the_header(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/notifications", json=ONE, headers={"Idempotency-Key": "k" * 256})
    assert fields(answer) == ["Idempotency-Key"]


@pytest.mark.parametrize(
    ("given", "header", "stored"),
    [({}, TRACE, TRACE), ({"traceparent": TRACE}, TRACE.replace("0af", "1af"), TRACE), ({}, "garbage", None)],
    ids=["fills", "field wins", "malformed is ignored"],
)
async def test_the_trace_context_is_taken_from_the_header(
    api: httpx.AsyncClient, admin: Connection, given: dict[str, str], header: str, stored: str | None
) -> None:
    answer = await api.post("/v1/notifications", json=ONE | given, headers={"traceparent": header})
    assert answer.status_code == 202
    assert await admin.fetchval("SELECT traceparent FROM notify.notifications") == stored


async def test_a_broken_rule_is_named_by_field_and_nothing_is_stored(
    api: httpx.AsyncClient, admin: Connection
) -> None:
    for changed, named in BROKEN:
        document = json.dumps(ONE | changed)  # as ASCII, so that a lone surrogate travels as its escape
        answer = await api.post("/v1/notifications", content=document, headers=JSON)
        assert fields(answer) == named, changed
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 0


async def test_an_unknown_channel_comes_with_the_known_ones(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/notifications", json=ONE | {"channels": ["fax"]})
    [(_, detail)] = problem(answer, 422, "invalid-notification")
    assert "Known channels: email, inapp, push, sms, webhook" in detail


async def test_a_channel_that_is_switched_off_breaks_no_producer(
    api: httpx.AsyncClient, admin: Connection
) -> None:
    await admin.execute("UPDATE notify.channels SET enabled = false WHERE name = 'sms'")
    answer = await api.post("/v1/notifications", json=ONE | {"channels": ["sms"]})
    assert answer.status_code == 202
    shown = (await api.get(f"/v1/notifications/{answer.json()['id']}")).json()
    assert [(each["channel"], each["status"]) for each in shown["deliveries"]] == [("sms", "pending")]


async def test_the_readme_shows_what_comes_back(
    settings: Settings, pool: Pool, api: httpx.AsyncClient
) -> None:
    """Its address is the one that an API on the usual port gives itself."""
    readme = (PROJECT / "README.md").read_text()
    [(status, body)] = re.findall(r"^# (\d+) (\{.*?\}) +– after the commit", readme, re.MULTILINE)
    transport = httpx.ASGITransport(
        create_app(settings.model_copy(update={"api_port": 8080}), pool, Health())
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=api.headers) as usual:
        answer = await usual.post("/v1/notifications", json=ONE)
    shown = answer.json()
    assert (answer.status_code, shown) == (int(status), json.loads(body.replace("…", shown["id"])))


async def test_what_is_not_strict_json_is_refused(api: httpx.AsyncClient) -> None:
    for body, why in NOT_JSON:
        answer = await api.post("/v1/notifications", content=body, headers=JSON)
        assert problem(answer, 400, "malformed") == [], body[:40]
        assert why in answer.json()["detail"]


async def test_an_infinite_number_is_refused(api: httpx.AsyncClient) -> None:
    document = b'{"event_type": "a", "user_id": "u", "payload": {"a": 1e400}}'
    assert fields(await api.post("/v1/notifications", content=document, headers=JSON)) == ["payload"]


async def test_two_megabytes_are_too_much(api: httpx.AsyncClient) -> None:
    document = json.dumps(ONE | {"payload": {"a": "x" * 2_000_000}}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(document), 65_536):
            yield document[start : start + 65_536]

    for content in (document, chunks()):  # with Content-Length, and without
        answer = await api.post("/v1/notifications", content=content, headers=JSON)
        assert problem(answer, 413, "too-large") == []


async def test_other_media_are_refused(api: httpx.AsyncClient) -> None:
    for headers in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {},
        JSON | {"Content-Encoding": "gzip"},
    ):
        answer = await api.post("/v1/notifications", content=json.dumps(ONE).encode(), headers=headers)
        assert problem(answer, 415, "unsupported-media-type") == [], headers


async def test_a_charset_beside_the_media_type_is_fine(api: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "identity"}
    answer = await api.post("/v1/notifications", content=json.dumps(ONE).encode(), headers=headers)
    assert answer.status_code == 202
