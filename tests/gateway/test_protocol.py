"""Frames as text: what comes from Redis and goes out unchanged is what the model would have made of it."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol import BadFrameError, Notification, arrived, parse
from outbox.inbox import InboxChange, InboxItem
from workers.inapp import NOTHING_MARKED

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


def change(seq: int, version: int, payload: dict[str, object]) -> InboxChange:
    item = InboxItem(
        seq=seq, notification_id=UUID(int=7), event_type="x", actor_user_id=None, payload=payload,
        created_at=NOW, delivered_at=NOW,
    )  # fmt: skip
    return InboxChange(version=version, last_seq=seq, unread=3, item=item)


@given(
    seq=st.integers(1, 10**12),
    version=st.integers(1, 10**12),
    payload=st.dictionaries(TEXT, JSON, max_size=4),
)
def test_the_short_way_says_what_the_long_way_does(
    seq: int, version: int, payload: dict[str, object]
) -> None:
    published = change(seq, version, payload)
    for text in (
        published.model_dump_json(),
        published.model_dump_json(include={"version", "last_seq", "unread", "item"}),
        published.model_dump_json(include={"version", "last_seq", "unread", "item", *NOTHING_MARKED}),
    ):
        found = arrived(text.encode())
        assert found is not None
        assert (found.seq, found.version, found.traceparent) == (seq, version, None)
        assert published.item
        whole = Notification(**published.item.model_dump(), unread=3, version=version)
        assert json.loads(found.text) == json.loads(whole.model_dump_json())


def test_a_trace_context_comes_along_and_not_out_of_the_payload() -> None:
    traceparent, forged = f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'c' * 32}-{'d' * 16}-01"
    published = change(1, 1, {"traceparent": forged}).model_copy(update={"traceparent": traceparent})
    found = arrived(published.model_dump_json().encode())
    assert found is not None
    assert found.traceparent == traceparent
    assert traceparent not in found.text.decode()
    untraced = arrived(change(1, 1, {"traceparent": forged}).model_dump_json().encode())
    assert untraced is not None
    assert untraced.traceparent is None


@pytest.mark.parametrize(
    "text",
    [
        InboxChange(version=2, last_seq=1, unread=1).model_dump_json(),
        InboxChange(version=2, last_seq=1, unread=1, read=[1]).model_dump_json(),
        change(1, 1, {}).model_dump_json().replace('"last_seq":1', '"last_seq":2'),
        change(1, 1, {}).model_dump_json()[:-1],
        change(1, 1, {}).model_dump_json() + "x",
        change(1, 1, {}).model_copy(update={"archived": [1]}).model_dump_json(),
        "",
    ],
)
def test_anything_else_goes_the_long_way(text: str) -> None:
    assert arrived(text.encode()) is None


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")) | JSON.map(json.dumps))
def test_whatever_a_client_sends_is_a_frame_or_a_bad_one(text: str) -> None:
    why = refusal(text)
    assert "\n" not in why
    assert len(why) <= 200


def refusal(text: str) -> str:
    try:
        parse(text)
    except BadFrameError as error:
        return str(error)
    return ""
