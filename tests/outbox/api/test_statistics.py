"""/v1/statistics: counts and times by what is asked for, what bounds them, and what is going on now."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from db.pool import Connection, Pool
from outbox.api import statistics
from outbox.api.app import create_app
from outbox.nodes import Nodes
from outbox.probes import Health
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.outbox.api.answers import problem

URL = "/v1/statistics"
TIME = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
# A hundred, of which in-app was told after 1 to 100 s; every tenth mail failed, the last ten nobody has claimed yet.
SEED = """
INSERT INTO notify.outbox (event_type, user_id, channels, priority, created_at)
SELECT CASE WHEN i <= 30 THEN 'order.paid' ELSE 'login' END, 'u', '{inapp,email}',
       CASE WHEN i = 1 THEN 'urgent' ELSE 'normal' END,
       '2026-01-01T00:00:00Z'::timestamptz + (i % 2) * interval '1 hour' + i * interval '1 s'
FROM generate_series(1, 100) i;
INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed, settled_at)
SELECT id, 'inapp', 'delivered', 8, created_at + extract(second FROM created_at) * interval '1 s'
         + extract(minute FROM created_at) * interval '1 min'
FROM notify.notifications;
INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed, settled_at)
SELECT id, 'email', CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'delivered' END, 8, created_at + interval '2 s'
FROM (SELECT id, created_at, row_number() OVER (ORDER BY created_at) n FROM notify.notifications) o WHERE n <= 90;
"""


@pytest.fixture
async def ops(settings: Settings, pool: Pool, nodes: Nodes) -> AsyncIterator[httpx.AsyncClient]:
    """The API with Redis, spoken to by an administrator."""
    transport = httpx.ASGITransport(create_app(settings, pool, Health(), nodes), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {issue(settings, 'ops', Scope.ADMIN, timedelta(minutes=5))}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


async def counted(ops: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await ops.get(URL, params=TIME | query)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_by_channel(ops: httpx.AsyncClient, admin: Connection) -> None:
    await admin.execute(SEED)
    found = await counted(ops)
    assert (found["notifications"], found["complete"], found["groups_complete"]) == (100, True, True)
    assert found["counted_since"] == found["since"] == "2026-01-01T00:00:00+00:00"
    assert found["total"]["deliveries"] == 200
    assert found["total"]["statuses"] == {"pending": 10, "delivered": 181, "failed": 9}
    email, inapp = found["groups"]
    assert (email["channel"], email["statuses"]) == ("email", {"pending": 10, "delivered": 81, "failed": 9})
    assert email["seconds_to_delivered"] == {"p50": 2.0, "p95": 2.0, "p99": 2.0}
    assert (inapp["channel"], inapp["statuses"]) == ("inapp", {"delivered": 100})
    assert inapp["seconds_to_delivered"] == pytest.approx({"p50": 50.5, "p95": 95.05, "p99": 99.01})


async def test_by_several_and_by_time(ops: httpx.AsyncClient, admin: Connection) -> None:
    await admin.execute(SEED)
    found = await counted(ops, by="event_type,priority")
    assert [(one["event_type"], one["priority"], one["deliveries"]) for one in found["groups"]] == [
        ("login", "normal", 140),
        ("order.paid", "normal", 58),
        ("order.paid", "urgent", 2),
    ]
    hours = (await counted(ops, by="hour"))["groups"]
    assert [(one["hour"], one["deliveries"]) for one in hours] == [
        ("2026-01-01T00:00:00+00:00", 100),
        ("2026-01-01T01:00:00+00:00", 100),
    ]
    days = (await counted(ops, by="channel,day"))["groups"]
    assert [(one["channel"], one["day"]) for one in days] == [
        ("email", "2026-01-01T00:00:00+00:00"),
        ("inapp", "2026-01-01T00:00:00+00:00"),
    ]
    assert (await counted(ops, by=""))["groups"] == []
    later = await counted(ops, since="2026-01-01T01:00:00Z")
    assert later["notifications"] == 50


async def test_what_waited_for_its_time_is_counted_from_then(
    ops: httpx.AsyncClient, admin: Connection
) -> None:
    await admin.execute(
        SEED + "UPDATE notify.notifications SET deliver_at = created_at + interval '1 s';"
        "DELETE FROM notify.deliveries WHERE channel = 'inapp'"
    )
    (email, _) = (await counted(ops))["groups"]
    assert email["seconds_to_delivered"]["p50"] == 1.0


async def test_no_more_is_counted_than_may_be(
    ops: httpx.AsyncClient, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest of the time, and the answer says from when on."""
    await admin.execute(SEED)
    monkeypatch.setattr(statistics, "COUNTED", 40)
    monkeypatch.setattr(statistics, "GROUPS", 1)
    found = await counted(ops)
    assert (found["notifications"], found["complete"], found["total"]["deliveries"]) == (40, False, 80)
    assert found["counted_since"] == "2026-01-01T01:00:21+00:00"
    assert (len(found["groups"]), found["groups_complete"]) == (1, False)


async def test_nothing_there(ops: httpx.AsyncClient) -> None:
    answer = await ops.get(URL)
    assert answer.json()["total"] == {"deliveries": 0, "statuses": {}, "seconds_to_delivered": None}
    assert (answer.json()["notifications"], answer.json()["groups"]) == (0, [])
    assert answer.headers["cache-control"] == "no-store"


async def test_what_is_going_on_now(
    ops: httpx.AsyncClient, admin: Connection, nodes: Nodes, settings: Settings
) -> None:
    await admin.execute("INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'u')")
    await admin.execute(
        "INSERT INTO notify.notifications_failed (channel, error_class, reason, discarded_at)"
        " VALUES ('sms', 'x', 'y', NULL), ('sms', 'x', 'y', now())"
    )
    stream = settings.keys.stream("email")
    async with nodes.at(stream) as redis:
        await redis.xadd(stream, {"a": "b"})
    found = (await ops.get(f"{URL}/now")).json()
    assert (found["relay"]["lag_rows"], found["relay"]["holder"]) == (1, None)
    assert [(one["name"], one["length"], one["consumers"]) for one in found["streams"]] == [(stream, 1, 0)]
    assert [(one["name"], one["count"]) for one in found["dead_letters"]] == [("sms", 1)]
    assert found["scheduled"] == []


async def test_without_redis_the_rest_is_told(
    settings: Settings, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = Nodes("redis://127.0.0.1:1", protocol=2)
    transport = httpx.ASGITransport(create_app(settings, pool, Health(), gone))
    headers = {"Authorization": f"Bearer {issue(settings, 'ops', Scope.ADMIN, timedelta(minutes=5))}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as api:
        found = (await api.get(f"{URL}/now")).json()
    await gone.aclose()
    assert (found["streams"], found["relay"]["lag_rows"]) == (None, 0)
    assert "api.streams_unknown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"by": "user_id"}, "by"),
        ({"by": "channel,channel"}, "by"),
        ({"by": "hour,day"}, "by"),
        ({"since": "2026-01-03T00:00:00Z"}, "body"),
        ({"since": "today"}, "since"),
        ({"group": "channel"}, "group"),
    ],
    ids=str,
)
async def test_what_is_no_query_is_refused(ops: httpx.AsyncClient, query: Any, field: str) -> None:
    ((named, _),) = problem(await ops.get(URL, params=TIME | query), 422, "invalid")
    assert named == field


async def test_only_administrators(api: httpx.AsyncClient) -> None:
    for path in (URL, f"{URL}/now"):
        problem(await api.get(path), 403, "forbidden")
