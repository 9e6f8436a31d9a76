"""A push as it is meant: from an envelope and a rendered template, and how much of it fits."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.envelope import Envelope
from outbox.rendering.renderers import Rendered
from workers.outcome import Permanent
from workers.push_message import (
    LONGEST_SECONDS,
    PAYLOAD_BYTES,
    CollapseBy,
    Push,
    compose,
    fitted,
    shortened,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def composed(
    payload: dict[str, Any] | None = None,
    rendered: tuple[str, str] = ("Title", "Body"),
    by: CollapseBy = "notification",
    **columns: Any,
) -> Push | Permanent:
    envelope = Envelope(
        notification_id=ID,
        event_type="order.paid",
        user_id="ada",
        channels=["push"],
        payload=payload or {},
        created_at=NOW,
        **columns,
    )
    return compose(envelope, Rendered(*rendered, ""), 3, by, NOW)


def made(*args: Any, **columns: Any) -> Push:
    push = composed(*args, **columns)
    assert isinstance(push, Push)
    return push


def test_what_the_app_gets_besides_is_text() -> None:
    data = {"number": 7, "list": [1, "é"], "flag": True, "nothing": None, "event_type": "mine"}
    assert made({"url": "https://x/7", "data": data, "secret": "not sent"}).data == {
        "number": "7",
        "list": '[1,"é"]',
        "flag": "true",
        "nothing": "null",
        "url": "https://x/7",
        "notification_id": str(ID),
        "event_type": "order.paid",
    }


@pytest.mark.parametrize("payload", [{"data": [1]}, {"data": "text"}, {"url": 7}])
def test_of_another_shape_it_is_left_out(payload: dict[str, Any]) -> None:
    assert made(payload).data == {"notification_id": str(ID), "event_type": "order.paid"}


@pytest.mark.parametrize("key", ["aps", "from", "google.x", "gcm", "message_type", "notification"])
def test_the_providers_own_keys_are_refused(key: str) -> None:
    refused = composed({"data": {key: "x"}})
    assert isinstance(refused, Permanent)
    assert key in refused.reason


def test_a_title_is_one_line_and_a_body_has_no_ragged_ends() -> None:
    push = made(rendered=(" A\n  title ", "\n one\ntwo \n"))
    assert (push.title, push.body) == ("A title", "one\ntwo")


def test_what_no_encoding_holds_is_replaced() -> None:
    assert made(rendered=("a\ud800", "b\udfff")).title == "a?"


def test_neither_title_nor_body_is_a_template_s_fault() -> None:
    refused = composed(rendered=(" ", "\n"))
    assert isinstance(refused, Permanent)
    assert refused.error_class == "template"


@pytest.mark.parametrize(
    ("expires_at", "seconds"),
    [
        (None, LONGEST_SECONDS),
        (NOW + timedelta(minutes=5), 300),
        (NOW + timedelta(days=400), LONGEST_SECONDS),
        (NOW - timedelta(seconds=1), 0),
    ],
)
def test_how_long_it_is_worth_sending(expires_at: datetime | None, seconds: int) -> None:
    assert made(expires_at=expires_at).ttl_seconds == seconds


def test_what_replaces_what() -> None:
    own = made()
    assert (own.collapse, own.queue) == (str(ID), None)
    given = made({"collapse_key": "score"})
    assert (given.collapse, given.queue) == ("score", "score")
    by_template = made(by="template", template_name="invoice")
    assert (by_template.collapse, by_template.queue) == ("invoice", "invoice")
    assert made(by="template").collapse == "order.paid"
    assert made({"collapse_key": "score"}, by="template").collapse == "score"


@pytest.mark.parametrize("key", ["x" * 65, "é"])
def test_a_collapse_key_that_no_header_holds_is_told_by_its_digest(key: str) -> None:
    push = made({"collapse_key": key})
    assert len(push.collapse) == 64
    assert push.collapse == made({"collapse_key": key}).collapse != made({"collapse_key": key + "x"}).collapse


def as_json(text: str) -> bytes:
    return json.dumps({"body": text}, ensure_ascii=False).encode()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.integers(1, 500))
def test_as_much_as_fits(piece: str, times: int) -> None:
    body = (piece + '\n"é🎉') * times
    found = fitted(as_json, body)
    assert found is not None
    assert len(as_json(found)) <= PAYLOAD_BYTES
    if found != body:
        assert body.startswith(found.removesuffix("…"))
        assert len(as_json(found)) > PAYLOAD_BYTES - 200, "no more is cut than has to be"


def test_nothing_fits() -> None:
    assert fitted(lambda text: b"x" * PAYLOAD_BYTES + text.encode(), "body") is None


@pytest.mark.parametrize(
    ("body", "characters", "expected"),
    [
        ("Thank you", 6, "Thank…"),
        ("cafe\u0301s", 4, "caf…"),
        ("a👩\u200d👩\u200d👧b", 3, "a…"),
        ("a❤\ufe0fb", 2, "a…"),
        ("\u0301\u0301\u0301", 2, "…"),
        ("abc", 0, "…"),
    ],
)
def test_not_within_a_character(body: str, characters: int, expected: str) -> None:
    assert shortened(body, characters) == expected
