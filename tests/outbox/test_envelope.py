"""The envelope: what it takes, what it refuses, and that the published schema is its own."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from outbox.envelope import (
    PAYLOAD_BYTES,
    PAYLOAD_DEPTH,
    Arrived,
    Envelope,
    Notification,
    Priority,
    bound,
    from_entry,
    further_digits,
)
from outbox.errors import UndecodableEntryError
from outbox.schema import envelope_schema

ONE: dict[str, Any] = {"event_type": "order.paid", "user_id": "u-1"}
IDENTITY = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "field",
    [
        {"event_type": "a"},
        {"event_type": "a" * 128},
        {"user_id": "ü" * 200},
        {"actor_user_id": "x y"},
        {"channels": [f"c-{number}" for number in range(16)]},
        {"payload": {"a": "x" * (PAYLOAD_BYTES - len('{"a": ""}'))}},
        {"payload": nested(PAYLOAD_DEPTH)},
        {"payload": {"a": "\u00e9\U0001f370\u0001\n"}},
        {"payload": {"a": (1, 2.5, None, True)}},
        {"dedup_key": "k" * 255},
        {"priority": "urgent"},
        {"deliver_at": "2200-01-01T00:00:00Z", "expires_at": None},
        {"deliver_at": "2026-01-01T00:00:00+02:00", "expires_at": "2026-01-01T00:00:00Z"},
    ],
    ids=lambda field: str(field)[:40],
)
def test_what_keeps_the_rules_is_taken(field: dict[str, Any]) -> None:
    Notification.model_validate(ONE | field)


@pytest.mark.parametrize(
    ("field", "where"),
    [
        ({"event_type": "a" * 129}, "event_type"),
        ({"event_type": "a\n"}, "event_type"),
        ({"user_id": "x" * 201}, "user_id"),
        ({"user_id": "a\u2028b"}, "user_id"),
        ({"user_id": "\ud800"}, "user_id"),
        ({"actor_user_id": "\x85"}, "actor_user_id"),
        ({"channels": [f"c-{number}" for number in range(17)]}, "channels"),
        ({"payload": {"a": "x" * (PAYLOAD_BYTES - len('{"a": ""}') + 1)}}, "payload"),
        ({"payload": nested(PAYLOAD_DEPTH + 1)}, "payload"),
        ({"payload": {"a": math.nan}}, "payload"),
        ({"payload": {"a": [(math.inf,)]}}, "payload"),
        ({"payload": {"\0": 1}}, "payload"),
        ({"payload": {"a": {1: 2}}}, "payload"),
        ({"payload": {"a": datetime.now(UTC)}}, "payload"),
        ({"payload": {"a": {1, 2}}}, "payload"),
        ({"payload": {"a": b"x"}}, "payload"),
        ({"deliver_at": "2200-01-01T00:00:01Z"}, "deliver_at"),
        ({"deliver_at": "1700000000"}, "deliver_at"),
        ({"deliver_at": 1.5}, "deliver_at"),
        ({"deliver_at": datetime(2026, 1, 1)}, "deliver_at"),  # noqa: DTZ001 - naive is the point
        ({"expires_at": NOW, "deliver_at": NOW}, "expires_at"),
        ({"v": 1}, "v"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_breaks_a_rule_is_refused_where_it_stands(field: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Notification.model_validate(ONE | field)
    assert [error["loc"][0] for error in caught.value.errors()] == [where]


def test_a_number_counts_as_long_as_jsonb_writes_it() -> None:
    """1e+300 has 6 characters in JSON and 301 in jsonb."""
    Notification(**ONE, payload={"a": [1e300] * 200})
    with pytest.raises(ValidationError, match="must be at most 65536 bytes of JSON, is"):
        Notification(**ONE, payload={"a": [1e300] * 300})


def test_an_entry_comes_back_as_it_went() -> None:
    sent = Envelope(**ONE, notification_id=IDENTITY, created_at=NOW, priority=Priority.BULK, deliver_at=NOW)
    fields = {key.encode(): value.encode() for key, value in sent.to_entry(attempt=3).items()}
    assert from_entry(fields) == (sent, 3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({b"envelope": None}, "the entry has no field envelope"),
        ({b"attempt": None}, "the entry has no field attempt"),
        ({b"attempt": b"x"}, "attempt: is no whole number"),
        ({b"envelope": b"\xff"}, "envelope: Invalid JSON"),
        ({b"envelope": b"{}"}, "event_type: Field required"),
        ({b"envelope": b"[]"}, "envelope: "),
        ({b"envelope": b'{"event_type": "a", "user_id": 7}'}, "user_id: Input should be a valid string"),
    ],
    ids=str,
)
def test_an_entry_that_is_no_envelope_says_why(changed: dict[bytes, bytes | None], said: str) -> None:
    sent = Envelope(**ONE, notification_id=IDENTITY, created_at=NOW).to_entry()
    fields = {key.encode(): value.encode() for key, value in sent.items()} | changed
    with pytest.raises(UndecodableEntryError, match=said):
        from_entry({key: value for key, value in fields.items() if value is not None})


@pytest.mark.parametrize(
    "field",
    [
        {"added_later": {"a": 1}},
        {"user_id": "a\u2028b"},
        {"payload": nested(PAYLOAD_DEPTH + 8)},
        {"payload": {"a": "x" * (PAYLOAD_BYTES + 1)}},
    ],
    ids=lambda field: str(field)[:40],
)
def test_what_postgres_took_is_not_refused_on_its_way(field: dict[str, Any]) -> None:
    """The table's rules are a little wider than the model's, and a newer relay may add a field."""
    sent = (
        json.loads(Envelope(**ONE, notification_id=IDENTITY, created_at=NOW).to_entry()["envelope"]) | field
    )
    envelope, _ = from_entry({b"envelope": json.dumps(sent).encode(), b"attempt": b"0"})
    assert isinstance(envelope, Envelope)
    assert not hasattr(envelope, "added_later")
    assert envelope.notification_id == IDENTITY
    assert envelope.payload == field.get("payload", {})
    assert envelope.user_id == field.get("user_id", "u-1")


def test_what_arrives_has_the_fields_that_are_sent() -> None:
    facts = {
        name: (field.is_required(), field.get_default(call_default_factory=True))
        for name, field in Envelope.model_fields.items()
    }
    assert facts == {
        name: (field.is_required(), field.get_default(call_default_factory=True))
        for name, field in Arrived.model_fields.items()
    }


def test_another_version_is_not_guessed_at() -> None:
    sent = json.loads(Envelope(**ONE, notification_id=IDENTITY, created_at=NOW).to_entry()["envelope"])
    with pytest.raises(UndecodableEntryError, match="v: "):
        from_entry({b"envelope": json.dumps(sent | {"v": 2}).encode(), b"attempt": b"0"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_any_payload_is_either_refused_or_travels_unchanged(payload: dict[str, Any]) -> None:
    try:
        sent = Envelope(**ONE, payload=payload, notification_id=IDENTITY, created_at=NOW)
    except ValidationError:
        return
    fields = {key.encode(): value.encode() for key, value in sent.to_entry().items()}
    assert from_entry(fields)[0].payload == payload


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=1)), inner)
    ),
)


@given(JSON_VALUES)
def test_no_payload_is_longer_than_its_bound(value: Any) -> None:
    """Otherwise one that is too long for Postgres would pass without being written out."""
    assert len(json.dumps(value, ensure_ascii=False).encode()) + further_digits(value) <= bound(value, 100)


def test_a_payload_is_taken_up_to_its_last_byte() -> None:
    """Its bound is six times as high: then it is the text that counts."""
    longest = "x" * (PAYLOAD_BYTES - len('{"a": ""}'))
    assert Notification.model_validate(ONE | {"payload": {"a": longest}}).payload == {"a": longest}
    with pytest.raises(ValidationError, match="must be at most 65536 bytes of JSON, is 65537"):
        Notification.model_validate(ONE | {"payload": {"a": longest + "x"}})


def test_the_published_schema_is_up_to_date() -> None:
    published = Path(__file__).parents[2] / "docs" / "envelope.schema.json"
    assert published.read_text(encoding="utf-8") == envelope_schema(), (
        "run: python -m outbox.schema > docs/envelope.schema.json"
    )


def test_the_schema_asks_for_what_the_model_asks_for() -> None:
    schema = json.loads(envelope_schema())
    assert set(schema["properties"]) == set(Envelope.model_fields)
    assert set(schema["required"]) == {"event_type", "user_id", "notification_id", "created_at"}
    assert schema["additionalProperties"] is False
