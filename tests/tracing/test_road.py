"""One trace from the caller's `traceparent` through every process, whatever becomes of the notification."""

import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bench.tracing.collector import Collector, Told
from db.pool import Connection
from outbox.local.doubles.faults import Kind
from outbox.local.ports import any_free
from outbox.settings import Settings
from tests.tracing.conftest import ADDRESS, Site, context, outside, processes

PAYLOAD = {"title": "Paid", "body": "what nobody else is to read"}
SENT: dict[str, Any] = {"event_type": "order.paid", "user_id": "ada", "payload": PAYLOAD}
INSERT = (
    "INSERT INTO notify.outbox (notification_id, event_type, user_id, channels, payload, traceparent)"
    ' VALUES ($1, \'order.paid\', \'ada\', $2, \'{"title": "Paid", "body": "Thanks"}\', $3)'
)


def tree(spans: list[Told], prefix: str) -> Counter[tuple[str, str, str]]:
    """How often each stands beneath which: (process, name, its parent's name)."""
    names = {span.span_id: span.name for span in spans}
    return Counter(
        (
            span.service.removeprefix("outbox-"),
            span.name.replace(prefix, ""),
            names.get(span.parent, "").replace(prefix, ""),
        )
        for span in spans
    )


def expected(*channels: str) -> Counter[tuple[str, str, str]]:
    """Of an attempt by each channel."""
    send, found = "send notify.outbox", Counter[tuple[str, str, str]]()
    for channel in channels:
        process = f"process notifications.{channel}"
        found["relay", f"publish notifications.{channel}", send] += 1
        found["worker", process, send] += 1
        for part in PARTS[channel]:
            found[*part, process] += 1
    return found


PARTS = {
    "inapp": [("worker", "claim"), ("worker", "settle"), ("gateway", "push inbox")],
    "email": [("worker", name) for name in ("claim", "render", "send smtp", "settle")],
    "webhook": [("worker", name) for name in ("claim", "POST webhook", "settle")],
}


@pytest.mark.timeout(400)
async def test_one_trace_through_all_processes_and_a_retry(
    settings: Settings, admin: Connection, redis: object, collector: Collector, tmp_path: Path
) -> None:
    ports = {f"{name}_port": any_free() for name in ("api", "relay", "worker", "gateway")}
    async with outside(settings, admin, collector, ports) as made, processes(made, ports, tmp_path):
        await followed(made)


async def followed(road: Site) -> None:
    alice = await road.browser("ada")
    road.receiver.double.menu.order(Kind.ANSWER, status=500)
    traceparent = context()
    headers = {"traceparent": traceparent}
    sent = await road.http.post(
        "/v1/notifications", json=SENT | {"channels": ["inapp", "email", "webhook"]}, headers=headers
    )
    seen = await road.settled(sent.json()["id"])
    await alice.has(1)
    spans = await road.trace(traceparent, 4)
    door = Counter(
        {("api", "POST /v1/notifications", ""): 1, ("api", "send notify.outbox", "POST /v1/notifications"): 1}
    )
    assert tree(spans, road.settings.redis_prefix) == door + expected("inapp", "email", "webhook", "webhook")
    [root] = [span for span in spans if span.kind == "SERVER"]
    assert root.parent == traceparent[36:52]
    assert root.attributes["http.response.status_code"] == 202
    assert seen["trace_id"] == traceparent[3:35]
    first, second = [span for span in spans if span.name.startswith("process") and "webhook" in span.name]
    assert [span.attributes["outbox.attempt"] for span in (first, second)] == [1, 2]
    assert [span.attributes["outbox.status"] for span in (first, second)] == ["retrying", "delivered"]
    assert (first.failed, first.attributes["error.type"]) == (True, "status_5xx")
    for span in spans:
        assert span.begins <= span.ends

    hooks = [span for span in spans if span.name == "POST webhook"]
    assert [span.attributes["http.response.status_code"] for span in hooks] == [500, 204]
    [message] = await road.receiver.double.box.wait(1)
    assert message.details["headers"]["traceparent"] == f"00-{hooks[1].trace_id}-{hooks[1].span_id}-01"

    told = json.dumps([dict(span.attributes) | {"name": span.name} for span in road.collector.spans])
    for personal in (ADDRESS, "ada", PAYLOAD["body"], PAYLOAD["title"]):
        assert personal not in told.replace("ada.lovelace@example.com", ADDRESS)


async def test_a_row_s_own_context_is_the_parent_and_an_unsampled_one_stays_silent(
    road: Site, producer: Connection
) -> None:
    silent, loud = context("00"), context("01")
    for traceparent in (silent, loud):
        notification_id = str(uuid4())
        await producer.execute(INSERT, notification_id, ["inapp", "webhook"], traceparent)
        await road.settled(notification_id)
    await road.collector.until(lambda c: len([s for s in c.of(loud[3:35]) if s.parent == loud[36:52]]) == 4)
    names = Counter(span.name.split()[0] for span in road.collector.of(loud[3:35]))
    assert (names["publish"], names["process"]) == (2, 2)
    assert road.collector.of(silent[3:35]) == []
    # The receiver hears of both: whoever is told decides by the flag, as everybody does.
    messages = await road.receiver.double.box.wait(2)
    assert [message.details["headers"]["traceparent"][3:35] for message in messages] == [
        silent[3:35],
        loud[3:35],
    ]
    assert messages[0].details["headers"]["traceparent"] == silent


async def test_a_digest_is_linked_to_what_it_tells(road: Site) -> None:
    causes = [context(), context()]
    for traceparent in causes:
        digested = SENT | {"channels": ["email"], "digest_key": "orders", "digest_window": 1}
        await road.http.post("/v1/notifications", json=digested, headers={"traceparent": traceparent})
    await road.collector.until(lambda c: any(span.links for span in c.spans))
    [digest] = [span for span in road.collector.spans if span.links]
    assert sorted(trace_id for trace_id, _ in digest.links) == sorted(cause[3:35] for cause in causes)
    assert digest.trace_id in {cause[3:35] for cause in causes}  # it was opened by one of them


async def test_a_batch_is_one_span_and_what_names_its_own_cause_keeps_it(
    road: Site, admin: Connection
) -> None:
    request, own = context(), context()
    answer = await road.http.post(
        "/v1/notifications:batch",
        json={"notifications": [SENT, SENT | {"traceparent": own}]},
        headers={"traceparent": request},
    )
    first, second = (each["id"] for each in answer.json()["notifications"])
    await road.settled(second)
    spans = await road.trace(request, 1)
    [send] = [span for span in spans if span.kind == "PRODUCER" and span.name == "send notify.outbox"]
    assert send.attributes["messaging.batch.message_count"] == 2
    assert send.links == ((own[3:35], own[36:52]),)
    rows = await admin.fetch("SELECT id::text, traceparent FROM notify.notifications")
    assert {row["id"]: row["traceparent"] for row in rows} == {
        first: f"00-{send.trace_id}-{send.span_id}-01",
        second: own,
    }
