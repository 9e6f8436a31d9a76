"""The webhook channel on the road: what the receiver gets, and what each of its answers leads to."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from db import dead
from db.dead import Filter
from db.pool import Pool
from outbox.local.doubles.faults import Kind
from outbox.local.doubles.webhook import Receiver, new_secret
from tests.workers.conftest import Road, eventually
from tests.workers.hooks import ALLOW, SECRET, lead, receiver
from workers.circuit import Limits

LIVELY: dict[str, Any] = ALLOW | {"retry_base": 0.02, "retry_cap": 0.05}


@pytest.fixture
async def far(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    async with receiver() as made:
        yield made


async def settled(road: Road, notification_id: UUID, status: str, channel: str = "webhook") -> list[Any]:
    """The timeline, once the delivery is so; what is due is promoted meanwhile."""

    async def there() -> bool:
        await road.promote()
        return await road.status(notification_id, channel) == status

    await eventually(there, f"the delivery is {status}")
    return await road.events(notification_id)


async def test_a_receiver_that_verifies_takes_it(road: Road, far: Receiver) -> None:
    await lead(road, f"{far.double.url}/in?tenant=7", headers={"X-Team": "billing"})
    async with road.worker("webhook", **ALLOW):
        notification_id = await road.send("webhook")
        events = await settled(road, notification_id, "delivered")
    (message,) = far.double.box.messages
    body = message.details["json"]
    assert (message.id, message.to, message.details["query"]) == (str(notification_id), "/in", "tenant=7")
    assert body == {
        "id": str(notification_id),
        "type": "order.paid",
        "timestamp": body["timestamp"],
        "user_id": "ada",
        "data": {"title": "Paid", "body": "Thank you"},
    }
    assert body["timestamp"].endswith("Z")
    headers = message.details["headers"]
    assert (headers["x-team"], headers["accept-encoding"]) == ("billing", "identity")
    assert headers["content-type"] == "application/json"
    assert events == [("delivered", {"sends": 1, "provider": "127.0.0.1"})]


@pytest.mark.parametrize(
    "own", [{}, {"Traceparent": "of the receiver's own"}], ids=["passed on", "overridden"]
)
async def test_the_cause_s_trace_context_is_passed_on_though_nothing_is_traced(
    road: Road, far: Receiver, own: dict[str, str]
) -> None:
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    await lead(road, far.double.url, headers=own)
    async with road.worker("webhook", **ALLOW):
        for given in (traceparent, None):
            await settled(road, await road.send("webhook", traceparent=given), "delivered")
    found = [message.details["headers"].get("traceparent") for message in far.double.box.messages]
    assert found == ([*own.values()] * 2 if own else [traceparent, None])


async def test_while_secrets_are_rotated_both_sign(
    road: Road, far: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver still knows the old one only; another one knows the new one only."""
    new = new_secret(b"n" * 24)
    monkeypatch.setenv("NEW_SECRET", new)
    both = ["env:NEW_SECRET", "env:HOOK_SECRET"]
    async with receiver(new) as other, road.worker("webhook", "second", **ALLOW):
        await lead(road, far.double.url, secrets=both)
        await lead(road, other.double.url, channel="second", secrets=both)
        for channel in ("webhook", "second"):
            await settled(road, await road.send(channel), "delivered", channel)
    (at_old,), (at_new,) = far.double.box.messages, other.double.box.messages
    for message in (at_old, at_new):
        signatures = message.details["headers"]["webhook-signature"].split(" ")
        assert [signature.partition(",")[0] for signature in signatures] == ["v1", "v1"]


async def test_a_signature_by_another_secret_is_refused_by_the_receiver(
    road: Road, far: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the tests above can fail."""
    monkeypatch.setenv("HOOK_SECRET", new_secret(b"w" * 32))
    await lead(road, far.double.url)
    async with road.worker("webhook", **ALLOW):
        notification_id = await road.send("webhook")
        ((event, detail),) = (await settled(road, notification_id, "retrying"))[:1]
    assert (event, detail["error_class"]) == ("retrying", "status_4xx")
    assert "No matching signature found" in detail["reason"]


# Every answer, and what it leads to: class, part of the reason, and in how many seconds at least it is tried again.
ANSWERS = [
    (301, {"location": "http://169.254.169.254/"}, "redirect", "301 Moved Permanently; redirects", 0.0),
    (307, {"location": "/elsewhere"}, "redirect", "307 Temporary Redirect", 0.0),
    (400, {}, "status_4xx", "400 Bad Request: no thanks", 0.0),
    (401, {}, "status_4xx", "401 Unauthorized", 0.0),
    (404, {}, "status_4xx", "404 Not Found", 0.0),
    (429, {"retry-after": "7"}, "throttled", "429 Too Many Requests", 7.0),
    (429, {}, "throttled", "429 Too Many Requests", 0.0),
    (500, {}, "status_5xx", "500 Internal Server Error", 0.0),
    (502, {}, "throttled", "502 Bad Gateway", 0.0),
    (503, {"retry-after": "9"}, "throttled", "503 Service Unavailable", 9.0),
    (504, {}, "throttled", "504 Gateway Timeout", 0.0),
    (599, {}, "status_5xx", "599", 0.0),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
async def test_every_other_answer_is_tried_again_by_schedule(
    road: Road, far: Receiver, answer: tuple[int, dict[str, str], str, str, float]
) -> None:
    status, headers, error_class, reason, wait = answer
    await lead(road, far.double.url)
    far.double.menu.order(Kind.ANSWER, status=status, headers=headers, body="no thanks")
    async with road.worker("webhook", **ALLOW, retry_cap=60.0):
        notification_id = await road.send("webhook")
        await road.until(notification_id, "retrying", "webhook")
    ((event, detail),) = await road.events(notification_id)
    assert (event, detail["error_class"], detail["provider"]) == ("retrying", error_class, "127.0.0.1")
    assert reason in detail["reason"]
    assert detail["retry_in_seconds"] >= wait
    assert far.double.front.connections == 1, "a redirect is not followed"


# What goes wrong below an answer: fault, status, class. After the request has left it may have been taken.
BROKEN = [
    (Kind.REFUSED, {}, "unknown"),
    (Kind.GARBAGE, {}, "unknown"),
    (Kind.SILENT, {}, "unknown"),
    (Kind.RESET, {}, "unknown"),
    (Kind.RESET, {"taken": True}, "unknown"),
    (Kind.HANG, {}, "unknown"),
    (Kind.HANG, {"taken": True}, "unknown"),
    (Kind.SLOW, {"seconds": 5.0}, "unknown"),
]


@pytest.mark.parametrize(("kind", "details", "error_class"), BROKEN)
async def test_what_is_not_answered_is_sent_again_under_the_same_id(
    road: Road, far: Receiver, kind: Kind, details: dict[str, Any], error_class: str
) -> None:
    await lead(road, far.double.url, timeout_seconds=2)
    far.double.menu.order(kind, **details)
    async with road.worker("webhook", **LIVELY):
        notification_id = await road.send("webhook")
        events = await settled(road, notification_id, "delivered")
    assert [event for event, _ in events] == ["retrying", "delivered"]
    assert events[0][1]["error_class"] == error_class
    assert [message.id for message in far.double.box.messages] == [str(notification_id)]
    assert far.requests[str(notification_id)] == 1 + int(bool(details.get("taken")))


async def test_what_is_not_answered_is_held_where_the_channel_says_so(road: Road, far: Receiver) -> None:
    await lead(road, far.double.url, timeout_seconds=1)
    await road.admin.execute("UPDATE notify.channels SET on_unknown = 'hold' WHERE name = 'webhook'")
    far.double.menu.order(Kind.HANG, taken=True)
    async with road.worker("webhook", **LIVELY):
        notification_id = await road.send("webhook")
        events = await settled(road, notification_id, "unknown")
    assert [event for event, _ in events] == ["unknown"]
    assert await road.admin.fetchval("SELECT count(*) FROM notify.notifications_failed") == 1


async def test_an_endpoint_that_is_down_is_no_unknown(road: Road, far: Receiver) -> None:
    """Nothing listens there, so nothing can have arrived."""
    await lead(road, "http://127.0.0.1:9/")
    async with road.worker("webhook", **LIVELY):
        notification_id = await road.send("webhook")
        events = await settled(road, notification_id, "retrying")
    assert events[0][1]["error_class"] == "connection"


async def test_malformed_answers_count_by_their_status(road: Road, far: Receiver) -> None:
    await lead(road, far.double.url)
    far.double.menu.order(Kind.MALFORMED)
    async with road.worker("webhook", **LIVELY):
        await settled(road, await road.send("webhook"), "delivered")


async def test_tries_run_out_and_leave_a_dead_letter(road: Road, far: Receiver) -> None:
    await lead(road, far.double.url)
    await road.admin.execute("UPDATE notify.channels SET max_attempts = 3 WHERE name = 'webhook'")
    far.double.menu.order(Kind.ANSWER, times=None, status=400, body={"error": "what is this? a@b.example"})
    async with road.worker("webhook", **LIVELY):
        notification_id = await road.send("webhook")
        events = await settled(road, notification_id, "failed")
    assert [event for event, _ in events] == ["retrying", "retrying", "failed"]
    row = await road.admin.fetchrow("SELECT error_class, reason FROM notify.notifications_failed")
    assert row is not None
    assert row["error_class"] == "status_4xx"
    assert "***@***" in row["reason"], "what a receiver says may hold addresses"


async def test_gone_switches_the_channel_off(road: Road, far: Receiver) -> None:
    await lead(road, far.double.url)
    far.double.menu.order(Kind.ANSWER, status=410)
    async with road.worker("webhook", **LIVELY):
        first = await road.send("webhook")
        events = await settled(road, first, "failed")
        assert events[0][1]["error_class"] == "recipient_gone"

        async def off() -> bool:
            return not await road.admin.fetchval("SELECT enabled FROM notify.channels WHERE name = 'webhook'")

        await eventually(off, "the channel is off")
        second = await road.send("webhook")
        events = await settled(road, second, "suppressed")
    assert events == [("suppressed", {"reason": "channel webhook is switched off"})]
    assert far.double.box.total == 0


async def test_each_user_has_an_endpoint_where_the_channel_has_none(road: Road, far: Receiver) -> None:
    await lead(road, None)
    await road.admin.execute(
        "INSERT INTO notify.webhook_endpoints (channel, user_id, url) VALUES ('webhook', 'ada', $1)",
        f"{far.double.url}/ada",
    )
    async with road.worker("webhook", **LIVELY):
        await settled(road, await road.send("webhook"), "delivered")
        events = await settled(road, await road.send("webhook", user_id="bob"), "failed")
    assert events[0][1]["error_class"] == "no_contact"
    assert [message.to for message in far.double.box.messages] == ["/ada"]


async def test_gone_switches_off_that_user_s_endpoint_alone(road: Road, far: Receiver) -> None:
    await lead(road, None)
    await road.admin.executemany(
        "INSERT INTO notify.webhook_endpoints (channel, user_id, url) VALUES ('webhook', $1, $2)",
        [("ada", f"{far.double.url}/ada"), ("bob", f"{far.double.url}/bob")],
    )
    far.double.menu.order(Kind.ANSWER, status=410, path="/ada")
    async with road.worker("webhook", **LIVELY):
        await settled(road, await road.send("webhook"), "failed")

        async def off() -> bool:
            return not await road.admin.fetchval(
                "SELECT enabled FROM notify.webhook_endpoints WHERE user_id = 'ada'"
            )

        await eventually(off, "the endpoint is off")
        events = await settled(road, await road.send("webhook"), "failed")
        await settled(road, await road.send("webhook", user_id="bob"), "delivered")
    assert events[0][1]["error_class"] == "endpoint_off"
    assert "410 Gone" in events[0][1]["reason"]


async def test_a_template_makes_the_body(road: Road, far: Receiver) -> None:
    await lead(road, far.double.url)
    await road.admin.execute(
        "INSERT INTO notify.templates (name, channel, body_text) VALUES"
        " ('order.paid', 'webhook', '{\"text\": {{ (payload.title ~ \" by \" ~ user_id) | tojson }}}'),"
        " ('bad', 'webhook', '{\"text\": {{ payload.title }}}')"
    )
    async with road.worker("webhook", **LIVELY):
        await settled(road, await road.send("webhook"), "delivered")
        events = await settled(road, await road.send("webhook", template_name="bad"), "failed")
    assert far.double.box.messages[0].details["json"] == {"text": "Paid by ada"}
    assert events[0][1]["reason"] == "the template's text is no JSON; use the filter tojson for values"


async def test_a_config_may_name_address_and_headers(
    road: Road, far: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_URL", f"{far.double.url}/capability")
    monkeypatch.setenv("HOOK_AUTH", "Bearer let-me-in")
    await lead(road, "env:HOOK_URL", headers={"Authorization": "env:HOOK_AUTH"}, method="PUT")
    async with road.worker("webhook", **LIVELY):
        await settled(road, await road.send("webhook"), "delivered")
    (message,) = far.double.box.messages
    assert (message.to, message.details["method"]) == ("/capability", "PUT")
    assert message.details["headers"]["authorization"] == "Bearer let-me-in"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"url": "env:NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE is not set"),
        ({"secrets": ["env:SHORT"]}, "env:SHORT is no secret of a webhook"),
        ({"url": "ftp://x"}, "config.url: the URL must be like https://host/path"),
        ({"speed": 1}, "config.speed: is not known; known are url, method"),
    ],
)
async def test_a_config_that_cannot_be_used_is_told_and_tried_again(
    road: Road, far: Receiver, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], told: str
) -> None:
    monkeypatch.setenv("SHORT", "whsec_c2hvcnQ=")
    await lead(road, **({"url": far.double.url} | config))
    async with road.worker("webhook", **LIVELY):
        events = await settled(road, await road.send("webhook"), "retrying")
    assert events[0][1]["error_class"] == "config"
    assert told in events[0][1]["reason"]
    assert "c2hvcnQ=" not in json.dumps(events)


async def test_a_failing_endpoint_is_left_alone_and_found_well_again(
    road: Road, far: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the circuit is open deliveries wait in `scheduled`, and no attempt is counted."""
    monkeypatch.setattr("workers.endpoints.LIMITS", Limits(cool_down=5.0, probe_seconds=0.2))
    await lead(road, far.double.url)
    far.double.menu.order(Kind.ANSWER, times=None, status=500)
    async with road.worker("webhook", **LIVELY):
        failing = [await road.send("webhook") for _ in range(5)]
        for one in failing:
            await road.until(one, "retrying", "webhook")
        late = await road.send("webhook")
        events = await settled(road, late, "deferred")
        assert (events[0][0], events[0][1]["error_class"]) == ("deferred", "circuit_open")
        counted = (
            "SELECT attempt FROM notify.delivery_events WHERE notification_id = $1 AND event = 'deferred'"
        )
        assert await road.admin.fetchval(counted, late) == 0
        far.double.menu.clear()
        for one in (*failing, late):
            await settled(road, one, "delivered")
    assert far.double.box.total == 6


async def test_one_user_s_hanging_endpoint_does_not_hold_up_another_s(road: Road, far: Receiver) -> None:
    await lead(road, None, timeout_seconds=30)
    await road.admin.executemany(
        "INSERT INTO notify.webhook_endpoints (channel, user_id, url) VALUES ('webhook', $1, $2)",
        [("ada", f"{far.double.url}/hangs"), ("bob", f"{far.double.url}/works")],
    )
    far.double.menu.order(Kind.HANG, times=None, path="/hangs")
    async with road.worker("webhook", **LIVELY, worker_concurrency=8, worker_lease=90):
        for _ in range(20):
            await road.send("webhook")
        for _ in range(3):
            await settled(road, await road.send("webhook", user_id="bob"), "delivered")
        ended = "SELECT count(*) FROM notify.delivery_events WHERE event = 'retrying'"
        assert await road.admin.fetchval(ended) == 0, "the hanging ones hang on"
        rows = await road.admin.fetch("SELECT detail FROM notify.delivery_events WHERE event = 'deferred'")
        far.double.front.reset_all()
    assert rows, "what the endpoint's share of the lane does not hold is put off"
    assert {json.loads(row["detail"])["error_class"] for row in rows} == {"crowded"}


async def test_a_delivery_does_not_wait_for_ever_for_an_endpoint_that_is_down(
    road: Road, far: Receiver, pool: Pool
) -> None:
    """Its notification is older than the channel waits, and the circuit is open."""
    await lead(road, far.double.url, give_up_after_hours=1)
    far.double.menu.order(Kind.ANSWER, times=None, status=500)
    async with road.worker("webhook", **LIVELY):
        for one in [await road.send("webhook") for _ in range(5)]:
            await road.until(one, "retrying", "webhook")
        old, *others = [await road.notify("webhook") for _ in range(4)]
        await road.admin.execute(
            "UPDATE notify.notifications SET created_at = created_at - interval '2 hours' WHERE id = ANY ($1)",
            [old, *others],
        )
        for one in (old, *others):
            await road.entry(one, "webhook")
        for one in others:
            await settled(road, one, "failed")
        events = await settled(road, old, "failed")
        assert [event for event, _ in events[:-1]] == ["deferred"] * (len(events) - 1)
        assert (events[-1][0], events[-1][1]["error_class"]) == ("failed", "endpoint_down")

        # Mended, and sent again while the circuit knows nothing of that yet.
        far.double.menu.clear()
        async with pool.acquire() as conn, conn.transaction():
            assert len(await dead.redrive(conn, Filter(channel="webhook"))) >= 4
        for one in others:
            await settled(road, one, "delivered")
        told = await settled(road, old, "delivered")
    assert "failed" not in [event for event, _ in told[len(events) :]]


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/meta-data", "https://[::ffff:10.0.0.1]/", "https://0/"]
)
async def test_an_address_inside_is_a_dead_letter_at_once(road: Road, far: Receiver, url: str) -> None:
    await lead(road, url)
    async with road.worker("webhook"):
        events = await settled(road, await road.send("webhook"), "failed")
    assert [(event, detail["error_class"]) for event, detail in events] == [("failed", "egress")]
    assert "OUTBOX_EGRESS_ALLOW" in events[0][1]["reason"]
