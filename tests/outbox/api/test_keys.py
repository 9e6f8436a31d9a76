"""/v1/api-keys, and keys in use: shown once, held to their limits, refused once they are over."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from db import keys
from db.pool import Connection, Pool
from outbox.api import keyring
from outbox.api.app import create_app
from outbox.api.keyring import KNOWN_SECONDS, Keyring
from outbox.api_keys import make
from outbox.errors import UnauthenticatedError
from outbox.probes import Health
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.outbox.api.answers import problem

ONE: dict[str, Any] = {"event_type": "order.paid", "user_id": "u-1"}
SHOP: dict[str, Any] = {"name": "shop", "scopes": ["producer"]}
NARROW = SHOP | {"event_types": ["order.*"], "channels": ["inapp"]}


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def admin_api(api: httpx.AsyncClient, settings: Settings) -> httpx.AsyncClient:
    api.headers.update(bearer(issue(settings, "ops", Scope.ADMIN, timedelta(minutes=5))))
    return api


@pytest.fixture
async def other(settings: Settings, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    """Another process of the API."""
    transport = httpx.ASGITransport(create_app(settings, pool, Health()))
    async with httpx.AsyncClient(transport=transport, base_url="http://other") as client:
        yield client


async def made(admin_api: httpx.AsyncClient, wanted: dict[str, Any] = SHOP) -> dict[str, Any]:
    answer = await admin_api.post("/v1/api-keys", json=wanted)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_key_is_shown_once_and_serves(admin_api: httpx.AsyncClient, admin: Connection) -> None:
    answer = await admin_api.post("/v1/api-keys", json=SHOP)
    key = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"].endswith(f"/v1/api-keys/{key['id']}")
    assert (key["created_by"], key["name"], key["scopes"], key["version"]) == ("ops", "shop", ["producer"], 1)
    assert (
        await admin_api.post("/v1/notifications", json=ONE, headers=bearer(key["key"]))
    ).status_code == 202
    shown = await admin_api.get(f"/v1/api-keys/{key['id']}")
    assert shown.json() == {name: value for name, value in key.items() if name != "key"}
    for table in ("api_keys", "audit_log"):
        rows = await admin.fetch(f"SELECT t::text FROM notify.{table} t")
        assert key["key"] not in str(rows)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"scopes": ["user"]}, "scopes.0"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["producer", "producer"]}, "scopes"),
        ({"name": ""}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"event_types": ["order*"]}, "event_types.0"),
        ({"event_types": []}, "event_types"),
        ({"channels": ["E-Mail"]}, "channels.0"),
        ({"rate": "fast"}, "rate"),
        ({"rate": ""}, "rate"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"scopes": ["producer", "admin"], "channels": ["inapp"]}, "body"),
        ({"scopes": ["admin"], "event_types": ["*"]}, "body"),
        ({"secret": "mine"}, "secret"),
    ],
)
async def test_each_broken_rule_is_named(
    admin_api: httpx.AsyncClient, changed: dict[str, Any], field: str
) -> None:
    answer = await admin_api.post("/v1/api-keys", json=SHOP | changed)
    assert field in [name for name, _ in problem(answer, 422, "invalid")]


async def test_keys_are_listed_newest_first_page_by_page(admin_api: httpx.AsyncClient) -> None:
    ids = [(await made(admin_api, SHOP | {"name": f"k{number}"}))["id"] for number in range(5)]
    await admin_api.delete(f"/v1/api-keys/{ids[0]}")
    seen, cursor = [], ""
    while cursor is not None:
        page = (await admin_api.get(f"/v1/api-keys?limit=2{cursor and '&cursor=' + cursor}")).json()
        seen += [key["id"] for key in page["api_keys"]]
        cursor = page["next_cursor"]
    assert seen == ids[:0:-1]
    everything = (await admin_api.get("/v1/api-keys?over=true")).json()["api_keys"]
    assert [key["id"] for key in everything] == ids[::-1]
    problem(await admin_api.get("/v1/api-keys?cursor=x"), 422, "invalid")


async def test_it_is_changed_without_losing_an_edit(admin_api: httpx.AsyncClient) -> None:
    key = await made(admin_api, NARROW)
    path = f"/v1/api-keys/{key['id']}"
    problem(await admin_api.patch(path, json={"name": "x"}), 428, "precondition-required")
    changed = await admin_api.patch(
        path, json={"channels": None, "rate": "5/second"}, headers={"If-Match": '"1"'}
    )
    assert changed.status_code == 200, changed.text
    assert (changed.json()["channels"], changed.json()["rate"]) == (None, "5/second")
    assert changed.json()["event_types"] == ["order.*"]
    assert changed.headers["etag"] == '"2"'
    late = await admin_api.patch(path, json={"name": "x"}, headers={"If-Match": '"1"'})
    problem(late, 412, "precondition-failed")
    wide = await admin_api.patch(path, json={"scopes": ["admin"]}, headers={"If-Match": "*"})
    problem(wide, 422, "invalid")
    null = await admin_api.patch(path, json={"name": None}, headers={"If-Match": "*"})
    problem(null, 422, "invalid")


async def test_what_does_not_exist_is_404(admin_api: httpx.AsyncClient) -> None:
    for id_ in ("x" * 12, "a%00b", "%F0%9F%98%80"):
        for method in ("GET", "PATCH", "DELETE"):
            answer = await admin_api.request(
                method, f"/v1/api-keys/{id_}", json={"name": "x"}, headers={"If-Match": "*"}
            )
            problem(answer, 404, "not-found")


async def test_a_revoked_key_is_refused_here_at_once_and_elsewhere_within_its_bound(
    admin_api: httpx.AsyncClient, other: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await made(admin_api)
    headers = bearer(key["key"])
    assert (await other.post("/v1/notifications", json=ONE, headers=headers)).status_code == 202
    assert (await admin_api.post("/v1/notifications", json=ONE, headers=headers)).status_code == 202
    for _ in range(2):  # safe to repeat
        assert (await admin_api.delete(f"/v1/api-keys/{key['id']}")).status_code == 204
    refused = await admin_api.post("/v1/notifications", json=ONE, headers=headers)
    problem(refused, 401, "unauthenticated")
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert (await other.post("/v1/notifications", json=ONE, headers=headers)).status_code == 202
    changed = await admin_api.patch(
        f"/v1/api-keys/{key['id']}", json={"name": "x"}, headers={"If-Match": "*"}
    )
    problem(changed, 409, "key-revoked")
    assert KNOWN_SECONDS <= 5
    ring = Keyring(other_pool(other), clock=lambda: 0.0)
    monkeypatch.setattr(keyring, "KNOWN_SECONDS", 0.0)
    with pytest.raises(UnauthenticatedError):
        await ring.identify(key["key"])


def other_pool(client: httpx.AsyncClient) -> Pool:
    transport: Any = client._transport
    pool: Pool = transport.app.state.guard.keyring._pool
    return pool


async def test_what_was_looked_up_serves_for_its_time_and_no_longer(
    admin_api: httpx.AsyncClient, admin: Connection, pool: Pool
) -> None:
    key, now = await made(admin_api), 100.0
    ring = Keyring(pool, clock=lambda: now)
    await ring.identify(key["key"])
    await admin.execute("UPDATE notify.api_keys SET revoked_at = now()")
    now += KNOWN_SECONDS - 0.01
    await ring.identify(key["key"])
    now += 0.02
    with pytest.raises(UnauthenticatedError):
        await ring.identify(key["key"])
    await admin.execute("UPDATE notify.api_keys SET revoked_at = NULL")
    with pytest.raises(UnauthenticatedError):  # what does not hold is remembered, too
        await ring.identify(key["key"])


async def test_whoever_tries_many_keys_makes_nobody_s_be_looked_up_anew(
    admin_api: httpx.AsyncClient, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await made(admin_api)
    monkeypatch.setattr("outbox.recall.MOST", 3)
    ring = Keyring(pool)
    await ring.identify(key["key"])
    for _ in range(5):
        with pytest.raises(UnauthenticatedError):
            await ring.identify(make().text)
    monkeypatch.setattr(keys, "presented", None)
    await ring.identify(key["key"])


async def test_many_at_once_ask_once_and_nobody_s_leaving_harms_the_others(
    admin_api: httpx.AsyncClient, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, asked = await made(admin_api), 0
    real = keys.presented

    async def counted(*facts: Any) -> Any:
        nonlocal asked
        asked += 1
        return await real(*facts)

    monkeypatch.setattr(keys, "presented", counted)
    ring = Keyring(pool)
    tasks = [asyncio.create_task(ring.identify(key["key"])) for _ in range(50)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each).__name__ for each in done] == ["CancelledError", *["Identity"] * 49]
    assert asked == 1


async def test_a_key_ends_when_it_says_even_while_it_is_remembered(
    admin_api: httpx.AsyncClient, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    key = await made(admin_api, SHOP | {"expires_at": ends.isoformat()})
    ring = Keyring(pool)
    await ring.identify(key["key"])

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Later":
            return cls.fromtimestamp(ends.timestamp() + 1, tz)

    monkeypatch.setattr(keyring, "datetime", Later)
    with pytest.raises(UnauthenticatedError, match="expired"):
        await ring.identify(key["key"])


async def test_a_wrong_secret_and_an_unknown_id_are_told_alike(
    admin_api: httpx.AsyncClient, pool: Pool
) -> None:
    key = await made(admin_api)
    told = set()
    unknown = make().text
    borrowed = next(each for each in iter(lambda: with_id(key["id"]), None))
    for text in (unknown, borrowed):
        with pytest.raises(UnauthenticatedError) as caught:
            await Keyring(pool).identify(text)
        told.add(str(caught.value))
    assert len(told) == 1


def with_id(id_: str) -> str:
    """A key of our own making under somebody else's id."""
    from outbox.api_keys import CHECK_CHARACTERS, PREFIX, checksum  # noqa: PLC0415 - only for this forgery

    body = f"{PREFIX}{id_}_{make().text.rpartition('_')[2][:-CHECK_CHARACTERS]}"
    return body + checksum(body)


async def test_when_it_was_used_last_is_written_once_a_minute_off_the_path(
    admin_api: httpx.AsyncClient, admin: Connection, pool: Pool
) -> None:
    key = await made(admin_api)
    ring, at = Keyring(pool), "SELECT last_used_at FROM notify.api_keys"
    await ring.touch()
    assert await admin.fetchval(at) is None
    await ring.identify(key["key"])
    assert await admin.fetchval(at) is None
    assert await ring.touch() == 60
    first = await admin.fetchval(at)
    assert first is not None
    await ring.identify(key["key"])
    await ring.touch()
    assert await admin.fetchval(at) == first
    await admin.execute("UPDATE notify.api_keys SET last_used_at = now() - interval '51 seconds'")
    await ring.touch()
    assert await admin.fetchval(at) < first  # it was not used since
    await ring.identify(key["key"])
    await ring.touch()
    assert await admin.fetchval(at) > first


async def test_a_limited_key_creates_within_its_limits_only(
    admin_api: httpx.AsyncClient, admin: Connection
) -> None:
    headers = bearer((await made(admin_api, NARROW))["key"])

    async def post(body: dict[str, Any], path: str = "") -> httpx.Response:
        return await admin_api.post(f"/v1/notifications{path}", json=body, headers=headers)

    assert (await post(ONE)).status_code == 202
    other_type, other_channel = ONE | {"event_type": "login"}, ONE | {"channels": ["inapp", "email"]}
    late = ONE | {"channels": ["inapp"], "escalate_after": 60, "escalate_channels": ["email"]}
    for body, field in ((other_type, "event_type"), (other_channel, "channels"), (late, "channels")):
        assert [name for name, _ in problem(await post(body), 403, "beyond-key")] == [field]
    batch = await post({"notifications": [ONE, other_type, ONE | other_channel]}, ":batch")
    assert [name for name, _ in problem(batch, 403, "beyond-key")] == [
        "notifications.1.event_type",
        "notifications.2.channels",
    ]
    assert (await post({"notifications": [ONE, ONE]}, ":batch")).status_code == 202
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 3


async def test_what_is_outside_of_its_limits_is_not_there_for_a_key(
    admin_api: httpx.AsyncClient, token: str, admin: Connection
) -> None:
    headers = bearer((await made(admin_api, NARROW))["key"])
    ids = [
        (await admin_api.post("/v1/notifications", json=body, headers=bearer(token))).json()["id"]
        for body in (ONE, ONE | {"event_type": "login"}, ONE | {"channels": ["email"]})
    ]
    expected = [200, 404, 404]
    for method in ("GET", "DELETE"):
        answers = [
            await admin_api.request(method, f"/v1/notifications/{each}", headers=headers) for each in ids
        ]
        assert [answer.status_code for answer in answers] == expected
    rows = await admin.fetch("SELECT canceled_at IS NULL FROM notify.notifications ORDER BY id")
    assert [row[0] for row in rows] == [False, True, True]


async def test_a_limited_key_s_dedup_keys_are_its_own(
    admin_api: httpx.AsyncClient, token: str, admin: Connection
) -> None:
    """With others' it would learn what they have sent, and could keep them from sending it."""
    one, other = [bearer((await made(admin_api, NARROW | {"name": name}))["key"]) for name in "ab"]
    login = ONE | {"event_type": "login", "dedup_key": "login:1"}
    first = await admin_api.post("/v1/notifications", json=login, headers=bearer(token))
    seen = {first.json()["id"]}
    for headers in (one, other):
        for times in range(2):
            answer = await admin_api.post(
                "/v1/notifications", json=ONE, headers=headers | {"Idempotency-Key": "login:1"}
            )
            assert answer.status_code == 202
            assert ("idempotent-replayed" in answer.headers) is (times == 1)
            seen.add(answer.json()["id"])
        again = {"notifications": [ONE | {"dedup_key": "login:1"}, ONE | {"dedup_key": "login:2"}]}
        batch = (await admin_api.post("/v1/notifications:batch", json=again, headers=headers)).json()
        assert [each["replayed"] for each in batch["notifications"]] == [True, False]
        shown = await admin_api.get(f"/v1/notifications/{answer.json()['id']}", headers=headers)
        assert shown.json()["dedup_key"] == "login:1"
    assert len(seen) == 3
    await admin_api.post("/v1/notifications", json=ONE | {"dedup_key": "soon"}, headers=one)
    later = await admin_api.post("/v1/notifications", json=ONE | {"dedup_key": "soon"}, headers=bearer(token))
    assert "idempotent-replayed" not in later.headers
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications WHERE dedup_key = 'soon'") == 1


async def test_a_limited_key_s_dedup_key_leaves_room_for_whose_it_is(admin_api: httpx.AsyncClient) -> None:
    headers = bearer((await made(admin_api, NARROW))["key"])
    room = 255 - len("key:123456789012/")
    fits = await admin_api.post("/v1/notifications", json=ONE | {"dedup_key": "x" * room}, headers=headers)
    assert fits.status_code == 202
    long = ONE | {"dedup_key": "x" * (room + 1)}
    one = await admin_api.post("/v1/notifications", json=long, headers=headers)
    many = await admin_api.post(
        "/v1/notifications:batch", json={"notifications": [ONE, long]}, headers=headers
    )
    rule = f"must be at most {room} characters of a key with limits"
    assert problem(one, 422, "invalid-notification") == [("dedup_key", rule)]
    assert problem(many, 422, "invalid-notification") == [("notifications.1.dedup_key", rule)]


async def test_every_act_on_a_key_is_in_the_audit_log(
    admin_api: httpx.AsyncClient, settings: Settings
) -> None:
    key = await made(admin_api, SHOP | {"scopes": ["admin"], "name": "robot"})
    path = f"/v1/api-keys/{key['id']}"
    await admin_api.patch(path, json={"name": "shop2"}, headers={"If-Match": "*"} | bearer(key["key"]))
    await admin_api.delete(path)
    found = (await admin_api.get(f"/v1/audit-log?target={key['id']}")).json()["audit_log"]
    assert [(each["actor"], each["via"], each["action"]) for each in found] == [
        ("ops", "token", "key.revoke"),
        (f"key:{key['id']}", "key", "key.change"),
        ("ops", "token", "key.make"),
    ]
    assert (found[1]["detail"]["before"]["name"], found[1]["detail"]["after"]["name"]) == ("robot", "shop2")
