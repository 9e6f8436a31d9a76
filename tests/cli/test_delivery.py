"""`outbox send`, the parts: the document, the timeline's lines, and how an answer is told."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from outbox.cli import delivery
from outbox.cli.reach import UnreachableError
from outbox.errors import InvalidNotificationError
from outbox.local.up_lines import plain

CREATED = datetime(2030, 1, 31, 9, tzinfo=UTC)


def event(name: str, after: float = 0.0, **detail: str) -> dict[str, Any]:
    at = (CREATED + timedelta(seconds=after)).isoformat()
    return {"at": at, "channel": "email", "event": name, "attempt": 0, "detail": detail}


def api(*answers: httpx.Response) -> httpx.Client:
    """An API that gives these answers, one after the other."""
    waiting = iter(answers)
    return httpx.Client(base_url="http://api.test", transport=httpx.MockTransport(lambda _: next(waiting)))


def state(
    *deliveries: dict[str, Any], timeline: tuple[dict[str, Any], ...] = (), **more: Any
) -> httpx.Response:
    body = {"created_at": CREATED.isoformat(), "status": "sending", "deliver_at": None, "timeline": timeline}
    return httpx.Response(200, json=body | {"deliveries": deliveries} | more)


def test_title_and_body_go_into_the_payload() -> None:
    assert delivery.merge('{"url": "/17", "title": "old"}', title="new", body=None) == {
        "url": "/17",
        "title": "new",
    }


@pytest.mark.parametrize(("payload", "rule"), [("{", "is not JSON"), ("[1]", "must be a JSON object")])
def test_a_payload_that_is_no_object_is_refused(payload: str, rule: str) -> None:
    with pytest.raises(InvalidNotificationError, match=rule):
        delivery.merge(payload)


def test_a_line_says_when_where_and_what() -> None:
    line = plain(delivery.line(event("retrying", 0.0124, error_class="transient"), CREATED))
    assert line.split() == ["+12", "ms", "email", "retrying", "error_class=transient"]


@pytest.mark.parametrize(("seconds", "shown"), [(0.0124, "+12 ms"), (0, "+0 ms"), (2.5, "+2.50 s")])
def test_elapsed(seconds: float, shown: str) -> None:
    assert delivery.elapsed(seconds) == shown


def test_each_event_is_printed_once_even_if_an_older_one_comes_later() -> None:
    printed: set[tuple[Any, ...]] = set()
    first, late = event("delivered", 2), event("claimed", 1)
    assert delivery.unprinted([first], printed) == [first]
    assert delivery.unprinted([late, first], printed) == [late]


def test_a_trace_is_shown_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    delivery.show_trace(
        api(state(trace_id="a" * 32), state(trace_id=None)), "1", url := "https://j/{trace_id}?x"
    )
    assert capsys.readouterr().out == f"trace     https://j/{'a' * 32}?x\n"
    delivery.show_trace(api(state(trace_id=None)), "1", url)
    assert capsys.readouterr().out == ""


def test_follow_ends_when_every_channel_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    inapp, email = {"channel": "inapp", "status": "delivered"}, {"channel": "email", "status": "pending"}
    answers = (
        state(inapp, email, timeline=(event("created"),)),
        state(inapp, email | {"status": "delivered"}, timeline=(event("created"), event("delivered", 0.2))),
    )
    assert delivery.follow(api(*answers), "1", timeout=60)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["+0", "+200"]


@pytest.mark.parametrize(
    ("status", "arrived"),
    [("delivered", True), ("suppressed", True), ("failed", False), ("unknown", False), ("expired", False)],
)
def test_only_delivered_and_suppressed_count_as_arrived(
    status: str, arrived: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = state({"channel": "email", "status": status, "reason": "because"})
    assert delivery.follow(api(answer), "1", timeout=60) is arrived
    shown = capsys.readouterr()
    assert ("because" in shown.out + shown.err) is (status != "delivered")


def test_follow_gives_up_in_time_and_says_what_is_open(capsys: pytest.CaptureFixture[str]) -> None:
    answers = [state({"channel": "email", "status": "retrying"})] * 100
    assert not delivery.follow(api(*answers), "1", timeout=0.01)
    assert "email: retrying" in capsys.readouterr().err


def test_what_is_for_much_later_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    answer = state(
        {"channel": "email", "status": "pending"}, status="scheduled", deliver_at="2199-01-01T00:00:00+00:00"
    )
    assert delivery.follow(api(answer), "1", timeout=60)
    assert "2199" in capsys.readouterr().out


def test_every_broken_rule_of_a_problem_is_told() -> None:
    errors = [{"field": "user_id", "detail": "is missing"}, {"field": "priority", "detail": "is not known"}]
    answer = httpx.Response(422, json={"detail": "2 rules are broken", "errors": errors})
    with pytest.raises(InvalidNotificationError, match=r"user_id: is missing\n\s+priority: is not known"):
        delivery.create(api(answer), {})


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (httpx.Response(401, json={"detail": "Send a token."}), r"\(401\): Send a token\."),
        (httpx.Response(502, text="<html>Bad gateway</html>"), "502 Bad Gateway"),
        (httpx.Response(422, text=json.dumps([])), "422"),
    ],
)
def test_other_refusals_are_told(answer: httpx.Response, told: str) -> None:
    with pytest.raises(delivery.RefusedError, match=told):
        delivery.create(api(answer), {})


def test_a_lost_connection_is_told() -> None:
    def lost(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too slow")

    client = httpx.Client(base_url="http://api.test", transport=httpx.MockTransport(lost))
    with pytest.raises(UnreachableError, match=r"http://api\.test.*ReadTimeout"):
        delivery.create(client, {})
