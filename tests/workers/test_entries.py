"""Decoding: every field of an entry that is no envelope is kept, byte for byte."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.delivery import Undecodable
from outbox.envelope import Envelope
from workers.entries import Entry, RawEntry, decode, deserialise, once_each, serialise


def envelope() -> Envelope:
    return Envelope(notification_id=uuid4(), event_type="a", user_id="ada", created_at=datetime.now(UTC))


def raw(attempt: int | str = 0) -> RawEntry:
    fields = envelope().to_entry() | {"attempt": str(attempt)}
    return RawEntry(b"1-1", {name.encode(): value.encode() for name, value in fields.items()})


def test_a_good_entry() -> None:
    entry = decode(raw(3))
    assert isinstance(entry, Entry)
    assert entry.attempt == 3


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (RawEntry(b"1-1", {b"x": b"\xff\x00"}), "no field"),
        (RawEntry(b"1-1", {b"envelope": b"{", b"attempt": b"0"}), "envelope"),
        (raw("many"), "attempt"),
        (raw(-1), "attempt"),
        (raw(99_999), "attempt"),
        (RawEntry(b"1-1", {b"envelope": b"[" * 100_000, b"attempt": b"0"}), "envelope"),
    ],
)
def test_what_is_no_envelope_is_kept(entry: RawEntry, reason: str) -> None:
    found = decode(entry)
    assert isinstance(found, Undecodable)
    assert reason in found.reason
    assert deserialise(found.raw) == entry.fields


ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
OTHER = UUID(int=7)


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        (f'{{"v":2,"notification_id":"{ID}"}}', ID),
        (f'{{"payload":{{"notification_id":"{OTHER}"}},"n":{"1" * 5001},"notification_id":"{ID}"}}', ID),
        (f'{{"v":1,"notification_id":"{ID}","payload":{"[" * 9000}{"]" * 9000}}}', ID),
        (f'{{"v":1,"notification_id":"{ID}","payload":{{"cut', ID),
        (f'{{"v":1,"payload":{{"notification_id":"{OTHER}","cut', None),
        (f'{{"v":1,"payload":{{"notification_id":"{OTHER}"}}}}', None),
        ('{"v":1,"notification_id":"' + "-" * 36 + '","cut', None),
        ('{"notification_id":7}', None),
        ('["notification_id"]', None),
        ("", None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_whose_entry_it_is_can_be_told_though_it_cannot_be_read(envelope: str, expected: UUID | None) -> None:
    """Never by what stands in the payload: anybody may write there."""
    found = decode(RawEntry(b"1-1", {b"envelope": envelope.encode(), b"attempt": b"3"}))
    assert isinstance(found, Undecodable)
    assert (found.notification_id, found.attempt) == (expected, 3)


@pytest.mark.parametrize("attempt", [b"many", b"-1", b"99999", b"9" * 5000])
def test_an_attempt_that_is_none_counts_as_the_first(attempt: bytes) -> None:
    found = decode(
        RawEntry(b"1-1", {b"envelope": envelope().to_entry()["envelope"].encode(), b"attempt": attempt})
    )
    assert isinstance(found, Undecodable)
    assert found.attempt == 0
    assert found.notification_id is not None


@given(st.dictionaries(st.binary(), st.binary()))
def test_any_bytes_come_back(fields: dict[bytes, bytes]) -> None:
    assert deserialise(serialise(fields)) == fields


@given(st.dictionaries(st.binary(), st.binary(), min_size=1))
def test_decoding_never_raises(fields: dict[bytes, bytes]) -> None:
    assert isinstance(decode(RawEntry(b"1-1", fields)), Undecodable)


def test_a_batch_names_a_notification_once() -> None:
    one, other = envelope(), envelope()
    entries = [Entry(b"1-1", one, 0), Entry(b"1-2", other, 0), Entry(b"1-3", one, 1)]
    assert once_each(entries) == (entries[:2], entries[2:])
