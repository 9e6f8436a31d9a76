"""Pauses, and what a Retry-After says."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.client.retry import Retry, retry_after


@given(st.integers(1, 2000), st.none() | st.floats(0, 60))
def test_pauses_stay_within_their_bounds(attempt: int, asked: float | None) -> None:
    pause = Retry(attempts=1999).pause(attempt, asked)
    if attempt >= 1999:
        assert pause is None
    else:
        assert pause is not None
        assert (asked or 0) < pause <= 20 + (asked or 0)


def test_pauses_double() -> None:
    retry = Retry(attempts=9, base=1, cap=1000)
    pauses = [retry.pause(attempt, None) for attempt in range(1, 9)]
    assert all(2**n / 2 <= (pause or 0) <= 2**n for n, pause in enumerate(pauses))


def test_a_date() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    seconds = retry_after({"retry-after": moment})
    assert seconds is not None
    assert 250 < seconds <= 300


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5.0), ("", None), ("soon", None), ("-1", None), ("²", None)]
)
def test_seconds(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}) == seconds
