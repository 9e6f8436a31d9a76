"""POST /v1/notifications:batch: all or nothing, in order, every mistake named by its index."""

from typing import Any

import httpx
import pytest

from db.pool import Connection
from tests.outbox.api.answers import fields, problem

ONE: dict[str, Any] = {"event_type": "order.paid", "user_id": "u-1"}


async def send(api: httpx.AsyncClient, *items: Any, **options: Any) -> httpx.Response:
    return await api.post("/v1/notifications:batch", json={"notifications": list(items)}, **options)


async def stored(admin: Connection) -> list[str]:
    rows = await admin.fetch("SELECT user_id FROM notify.outbox ORDER BY id")
    return [row["user_id"] for row in rows]


async def test_a_thousand_are_stored_in_their_order(api: httpx.AsyncClient, admin: Connection) -> None:
    users = [f"u-{number}" for number in range(1000)]
    answer = await send(api, *(ONE | {"user_id": user} for user in users))
    assert answer.status_code == 202
    assert await stored(admin) == users
    ids = [item["id"] for item in answer.json()["notifications"]]
    rows = await admin.fetch("SELECT notification_id::text FROM notify.outbox ORDER BY id")
    assert [row[0] for row in rows] == ids
    assert await admin.fetchval("SELECT count(DISTINCT xid::text) FROM notify.outbox") == 1


async def test_every_field_arrives(api: httpx.AsyncClient, admin: Connection) -> None:
    full = ONE | {
        "actor_user_id": 'a{b}"c',
        "channels": ["email", "inapp"],
        "payload": {"a": [1, {"b": None}]},
        "template_name": "default",
        "dedup_key": "k",
        "priority": "bulk",
        "expires_at": "2100-01-01T00:00:00+02:00",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    [item] = (await send(api, full)).json()["notifications"]
    shown = (await api.get(f"/v1/notifications/{item['id']}")).json()
    expected = full | {"expires_at": "2099-12-31T22:00:00+00:00"}
    assert {name: shown[name] for name in full} == expected


async def test_repeats_and_later_ones_are_told_apart(api: httpx.AsyncClient, admin: Connection) -> None:
    first = (await api.post("/v1/notifications", json=ONE | {"dedup_key": "old"})).json()["id"]
    answer = await send(
        api,
        ONE | {"dedup_key": "old"},
        ONE | {"dedup_key": "new"},
        ONE | {"dedup_key": "new"},
        ONE | {"dedup_key": "late", "deliver_at": "2190-01-01T00:00:00Z"},
        ONE | {"deliver_at": "2190-01-01T00:00:00Z"},
        ONE,
    )
    items = answer.json()["notifications"]
    assert [item["replayed"] for item in items] == [True, False, True, False, False, False]
    assert items[0]["id"] == first
    assert items[1]["id"] == items[2]["id"]
    assert len({item["id"] for item in items}) == 5
    known = {str(row["id"]) for row in await admin.fetch("SELECT id FROM notify.notifications")}
    assert known == {item["id"] for item in items}
    assert "idempotent-replayed" not in answer.headers
    again = await send(api, ONE | {"dedup_key": "old"})
    assert again.headers["idempotent-replayed"] == "true"


async def test_every_mistake_is_named_and_nothing_is_stored(
    api: httpx.AsyncClient, admin: Connection
) -> None:
    items: list[Any] = [ONE] * 20
    items[3] = ONE | {"user_id": "", "colour": "red"}
    items[17] = {"event_type": "a"}
    items[18] = "no object"
    items[19] = ONE | {"channels": ["inapp", "FAX"]}
    assert fields(await send(api, *items)) == [
        "notifications.3.user_id",
        "notifications.3.colour",
        "notifications.17.user_id",
        "notifications.18",
        "notifications.19.channels.1",
    ]
    assert await stored(admin) == []


async def test_what_only_the_database_knows_is_named_too(api: httpx.AsyncClient, admin: Connection) -> None:
    items = [ONE] * 9
    items[4] = ONE | {"channels": ["inapp", "fax"]}
    items[7] = ONE | {"template_name": "nowhere"}
    answer = await send(api, *items)
    (channel, known), (template, _) = problem(answer, 422, "invalid-notification")
    assert (channel, template) == ("notifications.4.channels.1", "notifications.7.template_name")
    assert "known are email, inapp, push, sms, webhook" in known
    assert await stored(admin) == []


async def test_a_long_list_of_mistakes_is_cut(api: httpx.AsyncClient) -> None:
    answer = await send(api, *[{"user_id": "u"}] * 1000)
    assert len(fields(answer)) == 100
    assert "1000 rules are broken" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, ["notifications"]),
        ({"notifications": []}, ["notifications"]),
        ({"notifications": {}}, ["notifications"]),
        ({"notifications": [ONE] * 1001}, ["notifications"]),
        ({"notifications": [ONE], "dry_run": True}, ["dry_run"]),
    ],
    ids=["missing", "empty", "no list", "1001", "unknown field"],
)
async def test_the_frame_is_checked(
    api: httpx.AsyncClient, admin: Connection, document: dict[str, Any], named: list[str]
) -> None:
    assert fields(await api.post("/v1/notifications:batch", json=document)) == named
    assert await stored(admin) == []


async def test_a_header_key_for_a_whole_batch_is_refused(api: httpx.AsyncClient) -> None:
    assert fields(await send(api, ONE, headers={"Idempotency-Key": "k"})) == ["Idempotency-Key"]
