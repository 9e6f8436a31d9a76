"""GET /v1/notifications: every filter, pages without gap or repeat, and a cost that has a bound."""

from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from db.pool import Connection
from outbox.api import browse
from tests.outbox.api.answers import problem

# Thirty, a second apart; the last is the newest.
SEED = """
INSERT INTO notify.outbox (event_type, user_id, channels, priority, dedup_key, created_at, payload)
SELECT (ARRAY['order.paid', 'order.shipped', 'orders', 'login'])[i % 4 + 1], 'u-' || i % 3,
       CASE WHEN i % 2 = 0 THEN '{inapp}'::text[] ELSE '{inapp,email}' END,
       CASE WHEN i % 5 = 0 THEN 'urgent' ELSE 'normal' END, 'key-' || i,
       '2026-01-01T00:00:00Z'::timestamptz + i * interval '1 s', jsonb_build_object('number', i)
FROM generate_series(0, 29) i
"""
DELIVERED = """
INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed)
SELECT id, 'inapp', 'delivered', 1, 8 FROM notify.notifications
"""
FAILED = """
INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, error_class, reason)
SELECT id, 'email', CASE WHEN created_at < '2026-01-01T00:00:16Z' THEN 'failed' ELSE 'delivered' END, 1, 8, 'smtp_5xx',
       '550 no such user'
FROM notify.notifications WHERE 'email' = ANY (channels)
"""


@pytest.fixture
async def seeded(admin: Connection) -> None:
    await admin.execute(SEED)


async def pages(api: httpx.AsyncClient, **query: Any) -> list[list[dict[str, Any]]]:
    """All of them, to the end."""
    found, cursor = [], None
    while True:
        more = query | ({"cursor": cursor} if cursor else {})
        answer = await api.get(f"/v1/notifications?{urlencode(more)}")
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["notifications"])
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return found


async def numbers(api: httpx.AsyncClient, **query: Any) -> list[int]:
    rows = [one for page in await pages(api, **query) for one in page]
    return [int(one["dedup_key"].removeprefix("key-")) for one in rows]


EVERY = list(range(29, -1, -1))


@pytest.mark.usefixtures("seeded")
async def test_newest_first_page_by_page(api: httpx.AsyncClient) -> None:
    assert await numbers(api) == EVERY
    for limit in (1, 7, 10, 30):
        found = await pages(api, limit=limit)
        assert [int(one["dedup_key"][4:]) for page in found for one in page] == EVERY
        assert {len(page) for page in found[:-1]} <= {limit}
        assert found[-1], "the last page is no empty one"


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ({"user_id": "u-1"}, lambda i: i % 3 == 1),
        ({"event_type": "order.paid"}, lambda i: i % 4 == 0),
        ({"event_type": "order.*"}, lambda i: i % 4 in {0, 1}),
        ({"event_type": "*"}, lambda i: True),
        ({"channel": "email"}, lambda i: i % 2 == 1),
        ({"priority": "urgent"}, lambda i: i % 5 == 0),
        ({"dedup_key": "key-7"}, lambda i: i == 7),
        ({"dedup_key": "key-7", "user_id": "u-2"}, lambda i: False),
        ({"since": "2026-01-01T00:00:10Z", "until": "2026-01-01T00:00:20Z"}, lambda i: 10 <= i < 20),
        ({"user_id": "u-1", "channel": "email", "limit": 2}, lambda i: i % 3 == 1 and i % 2 == 1),
        ({"status": "failed"}, lambda i: i % 2 == 1 and i < 16),
        ({"status": "delivered"}, lambda i: i % 2 == 0 or i >= 16),
        ({"status": "delivered", "channel": "email", "limit": 3}, lambda i: i % 2 == 1 and i >= 16),
        ({"status": "pending"}, lambda i: False),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",  # the same in every process
)
@pytest.mark.usefixtures("seeded")
async def test_each_filter(api: httpx.AsyncClient, admin: Connection, query: Any, kept: Any) -> None:
    await admin.execute(DELIVERED)
    await admin.execute(FAILED)
    assert await numbers(api, **query) == [i for i in EVERY if kept(i)]


@pytest.mark.usefixtures("seeded")
async def test_what_is_told_of_each(api: httpx.AsyncClient, admin: Connection) -> None:
    await admin.execute(FAILED)
    answer = await api.get("/v1/notifications?dedup_key=key-1")
    assert answer.headers["cache-control"] == "no-store"
    ((one,), _) = answer.json().values()
    own = (await api.get(f"/v1/notifications/{one['id']}")).json()
    assert "payload" not in one
    assert {name: own[name] for name in one if name != "deliveries"} == {
        name: one[name] for name in one if name != "deliveries"
    }
    assert [(d["channel"], d["status"], d["why"]) for d in one["deliveries"]] == [
        (d["channel"], d["status"], d["why"]) for d in own["deliveries"]
    ]
    assert one["deliveries"][1]["why"] == "550 no such user"
    with_payload = (await api.get("/v1/notifications?dedup_key=key-1&payload=true")).json()
    assert with_payload["notifications"][0]["payload"] == {"number": 1}


@pytest.mark.usefixtures("seeded")
async def test_of_the_same_instant_none_is_left_out(api: httpx.AsyncClient, admin: Connection) -> None:
    await admin.execute("UPDATE notify.notifications SET created_at = '2026-01-01Z'")
    assert sorted(await numbers(api, limit=4)) == sorted(EVERY)


@pytest.mark.usefixtures("seeded")
async def test_a_page_looks_at_no_more_than_it_may(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where few fit, pages are short or empty, and lead on."""
    monkeypatch.setattr(browse, "LOOK", 10)
    found = await pages(api, dedup_key="key-0")
    assert [len(page) for page in found] == [1]
    found = await pages(api, event_type="login", priority="urgent")  # 15 alone
    assert [len(page) for page in found] == [0, 1, 0, 0]


async def test_one_for_later_is_scheduled(api: httpx.AsyncClient) -> None:
    document = {"event_type": "a", "user_id": "u", "deliver_at": "2190-01-01T00:00:00Z"}
    await api.post("/v1/notifications", json=document)
    ((page,),) = (await pages(api, status="scheduled"),)
    assert [one["deliveries"][0]["why"] for one in page] == ["its deliver_at is still to come"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"limit": 101, "payload": "true"}, "body"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "WyJ4IiwgInkiXQ"}, "cursor"),
        ({"cursor": "WzEsIDJd"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"since": "1700000000"}, "since"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\x00"}, "user_id"),
        ({"dedup_key": "a\x00"}, "dedup_key"),
        ({"event_type": "a b"}, "event_type"),
        ({"channel": "A"}, "channel"),
        ({"status": "lost"}, "status"),
        ({"priority": "high"}, "priority"),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
async def test_what_is_no_query_is_refused(api: httpx.AsyncClient, query: dict[str, Any], field: str) -> None:
    answer = await api.get(f"/v1/notifications?{urlencode(query)}")
    assert [name for name, _ in problem(answer, 422, "invalid")] == [field]
