"""Trace contexts from callers and producers who mean no good, with tracing on."""

from typing import Any

import httpx
import pytest

from bench.tracing.collector import Collector
from db.pool import Connection
from tests.outbox.api.conftest import api, token
from tests.outbox.test_trace_context import HOSTILE
from tests.tracing.conftest import context

__all__ = ["api", "token"]
ONE: dict[str, Any] = {"event_type": "order.paid", "user_id": "ada"}
SENDABLE = {
    name: value
    for name, value in HOSTILE.items()
    if value is not None and value.isprintable() and value.isascii()
}


@pytest.mark.parametrize("header", SENDABLE.values(), ids=SENDABLE)
async def test_a_header_that_is_none_begins_a_trace_of_its_own(
    api: httpx.AsyncClient, traced: None, admin: Connection, collector: Collector, header: str
) -> None:
    answer = await api.post("/v1/notifications", json=ONE, headers={"traceparent": header})
    assert answer.status_code == 202
    await collector.until(lambda c: len(c.spans) == 2)
    server, send = sorted(collector.spans, key=lambda span: span.kind, reverse=True)
    assert (server.name, server.parent, send.parent) == ("POST /v1/notifications", "", server.span_id)
    stored = await admin.fetchval("SELECT traceparent FROM notify.notifications")
    assert stored[3:52] == f"{send.trace_id}-{send.span_id}"


async def test_two_headers_are_none(api: httpx.AsyncClient, traced: None, collector: Collector) -> None:
    two = [("traceparent", context()), ("traceparent", context())]
    assert (await api.post("/v1/notifications", json=ONE, headers=two)).status_code == 202
    await collector.until(lambda c: len(c.spans) == 2)
    assert {span.trace_id for span in collector.spans}.isdisjoint(value[3:35] for _, value in two)


async def test_a_body_with_ids_of_zeros_is_stored_as_it_is_and_traced_nowhere(
    api: httpx.AsyncClient, traced: None, admin: Connection, collector: Collector
) -> None:
    zeros = f"00-{'0' * 32}-{'0' * 16}-01"
    answer = await api.post("/v1/notifications", json=ONE | {"traceparent": zeros})
    assert answer.status_code == 202
    await collector.until(lambda c: len(c.spans) == 2)
    assert [span.links for span in collector.spans] == [(), ()]
    assert await admin.fetchval("SELECT traceparent FROM notify.notifications") == zeros
    shown = (await api.get(f"/v1/notifications/{answer.json()['id']}")).json()
    assert (shown["traceparent"], shown["trace_id"]) == (zeros, None)


async def test_an_unsampled_request_says_so_to_all_that_follow(
    api: httpx.AsyncClient, traced: None, admin: Connection, collector: Collector
) -> None:
    quiet, loud = context("00"), context("01")
    for traceparent in (quiet, loud):
        await api.post("/v1/notifications", json=ONE, headers={"traceparent": traceparent})
    await collector.until(lambda c: len(c.spans) == 2)
    assert {span.trace_id for span in collector.spans} == {loud[3:35]}
    rows = await admin.fetch("SELECT traceparent FROM notify.notifications ORDER BY created_at")
    assert [(row["traceparent"][3:35], row["traceparent"][-2:]) for row in rows] == [
        (quiet[3:35], "00"),
        (loud[3:35], "01"),
    ]


async def test_refusals_and_paths_that_nobody_knows_name_no_person(
    api: httpx.AsyncClient, traced: None, collector: Collector
) -> None:
    await api.post("/v1/notifications", json=ONE | {"user_id": ""})
    await api.get("/v1/users/ada/inbox")
    await api.get("/ada")
    await collector.until(lambda c: len(c.spans) == 3)
    told = {(span.name, span.attributes["http.response.status_code"]) for span in collector.spans}
    assert told == {("POST /v1/notifications", 422), ("GET /v1/users/{user_id}/inbox", 200), ("GET", 404)}
    assert "ada" not in repr(collector.spans)
