"""GET /v1/notifications/{id}: the notification, its deliveries and its timeline, from real rows."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from db.pool import Connection
from outbox.api import why
from outbox.api.status import derive
from tests.outbox.api.answers import fields, problem

ONE: dict[str, Any] = {"event_type": "order.paid", "user_id": "u-1", "channels": ["inapp", "email"]}


async def create(api: httpx.AsyncClient, **changed: Any) -> str:
    answer = await api.post("/v1/notifications", json=ONE | changed)
    identity: str = answer.json()["id"]
    return identity


async def show(api: httpx.AsyncClient, identity: str) -> Any:
    answer = await api.get(f"/v1/notifications/{identity}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_fresh_one_is_pending_on_every_channel(api: httpx.AsyncClient) -> None:
    identity = await create(api, payload={"total": 12.5})
    shown = await show(api, identity)
    assert (shown["id"], shown["status"], shown["payload"]) == (identity, "pending", {"total": 12.5})
    assert [(d["channel"], d["status"], d["attempts"]) for d in shown["deliveries"]] == [
        ("inapp", "pending", 0),
        ("email", "pending", 0),
    ]
    assert [(e["event"], e["at"]) for e in shown["timeline"]] == [("created", shown["created_at"])]


async def test_one_for_later_says_when(api: httpx.AsyncClient) -> None:
    shown = await show(api, await create(api, deliver_at="2190-01-01T00:00:00Z"))
    assert shown["status"] == "scheduled"
    assert {d["next_attempt_at"] for d in shown["deliveries"]} == {"2190-01-01T00:00:00+00:00"}
    _, scheduled = shown["timeline"]
    assert (scheduled["event"], scheduled["detail"]) == (
        "scheduled",
        {"deliver_at": "2190-01-01T00:00:00+00:00"},
    )


async def test_deliveries_and_their_events_are_told_in_order(
    api: httpx.AsyncClient, admin: Connection
) -> None:
    identity = await create(api)
    await admin.execute(
        f"""
        INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, error_class)
        VALUES ('{identity}', 'inapp', 'delivered', 1, 8, NULL), ('{identity}', 'email', 'retrying', 2, 8, 'smtp');
        INSERT INTO notify.delivery_events (notification_id, channel, event, attempt, detail, at)
        VALUES ('{identity}', 'email', 'retrying', 2, '{{"code": 451}}', clock_timestamp() + '2 s'),
               ('{identity}', 'inapp', 'delivered', 1, '{{}}', clock_timestamp() + '1 s');
        INSERT INTO notify.scheduled (notification_id, channels, due_at, reason, attempt)
        VALUES ('{identity}', '{{email}}', '2190-01-01Z', 'retry', 2);
        """
    )
    shown = await show(api, identity)
    inapp, email = shown["deliveries"]
    assert shown["status"] == "sending"
    assert (inapp["status"], inapp["next_attempt_at"]) == ("delivered", None)
    assert (email["status"], email["attempts"], email["error_class"]) == ("retrying", 2, "smtp")
    assert email["next_attempt_at"] == "2190-01-01T00:00:00+00:00"
    assert [(e["channel"], e["event"], e["attempt"], e["detail"]) for e in shown["timeline"]] == [
        (None, "created", 0, {}),
        ("inapp", "delivered", 1, {}),
        ("email", "retrying", 2, {"code": 451}),
    ]


async def test_a_canceled_one_says_so(api: httpx.AsyncClient, admin: Connection) -> None:
    identity = await create(api)
    await admin.execute("UPDATE notify.notifications SET canceled_at = clock_timestamp()")
    shown = await show(api, identity)
    assert shown["status"] == "canceled"
    assert [event["event"] for event in shown["timeline"]] == ["created", "canceled"]


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        (["pending", "pending"], "pending"),
        (["pending", "delivered"], "sending"),
        (["deferred"], "deferred"),
        (["deferred", "delivered"], "deferred"),
        (["deferred", "retrying"], "sending"),
        (["digested", "delivered"], "digested"),
        (["sending"], "sending"),
        (["retrying", "failed"], "sending"),
        (["delivered", "delivered"], "delivered"),
        (["delivered", "suppressed"], "delivered"),
        (["suppressed", "suppressed"], "suppressed"),
        (["delivered", "failed"], "failed"),
        (["unknown", "delivered"], "unknown"),
        (["failed", "unknown"], "failed"),
        (["expired", "delivered"], "expired"),
        (["canceled", "delivered"], "canceled"),
    ],
    ids=str,
)
def test_one_word_for_the_whole(statuses: list[str], whole: str) -> None:
    assert derive(statuses) == derive(statuses[::-1]) == whole


async def test_the_derived_statuses_cover_the_schema(admin: Connection) -> None:
    check = await admin.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'delivery_status_is_known'"
    )
    for status in check.split("'")[1::2]:
        assert derive([status]) in {status, "sending"}


async def test_an_unknown_id_is_not_found(api: httpx.AsyncClient) -> None:
    assert problem(await api.get(f"/v1/notifications/{uuid4()}"), 404, "not-found") == []


async def test_what_is_no_uuid_is_refused(api: httpx.AsyncClient) -> None:
    for text in ("x", "123", "01890a5dac96774bbcceb302099a8057", "%7B%7D", "null", "%00"):
        assert fields(await api.get(f"/v1/notifications/{text}")) == ["id"], text


async def test_each_device_of_a_push_is_told(api: httpx.AsyncClient, admin: Connection) -> None:
    identity = await create(api, channels=["push", "inapp"])
    await admin.execute(
        f"""
        INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, reason)
        VALUES ('{identity}', 'push', 'retrying', 1, 8, '1 of 2 devices, one of them: 503');
        INSERT INTO notify.push_attempts (notification_id, channel, device_id, status, attempt, provider, reason, at)
        VALUES ('{identity}', 'push', '{uuid4()}', 'retrying', 1, 'fcm', '503', clock_timestamp() + '1 s'),
               ('{identity}', 'push', '{uuid4()}', 'delivered', 1, 'apns', NULL, clock_timestamp());
        """
    )
    push, inapp = (await show(api, identity))["deliveries"]
    told = [(one["status"], one["provider"], one["reason"]) for one in push["devices"]]
    assert told == [("delivered", "apns", None), ("retrying", "fcm", "503")]
    assert "devices" not in inapp


STATES: list[tuple[dict[str, Any], dict[str, Any] | None, str | None]] = [
    ({"status": "delivered"}, None, None),
    ({"status": "sending"}, None, "an attempt is under way"),
    ({"status": "pending"}, None, "no worker has had it yet"),
    ({"status": "pending"}, {"reason": "redrive"}, "it was redriven, and its turn is still to come"),
    ({"status": "pending"}, {"reason": "retry"}, "no worker has had it yet"),
    ({"status": "retrying", "reason": "451 later"}, {"reason": "retry"}, "451 later"),
    ({"status": "failed", "reason": "550 no"}, None, "550 no"),
    ({"status": "failed", "reason": None}, None, "failed; no reason was given"),
    (
        {"status": "digested", "reason": "told in a digest", "digest_id": 7},
        None,
        "told in a digest: digest 7",
    ),
]


@pytest.mark.parametrize(("delivery", "waits", "sentence"), STATES, ids=str)
def test_why_it_was_not_sent(
    delivery: dict[str, Any], waits: dict[str, Any] | None, sentence: str | None
) -> None:
    assert why.unsent(delivery, waits) == sentence
