"""Back-off: doubling, capped, spread; the far side's wish honoured and clamped."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.retry import Backoff

BACKOFF = Backoff(base=2, cap=3600)


def test_doubles_from_the_base() -> None:
    delays = [BACKOFF.delay(attempt, 0.5) for attempt in range(1, 8)]
    assert delays == [2, 4, 8, 16, 32, 64, 128]
    assert all(late == 2 * early for early, late in pairwise(delays))


def test_eight_attempts_outlast_a_minute_without_a_mail_server() -> None:
    assert sum(BACKOFF.delay(attempt, 0.0) for attempt in range(1, 8)) > 120


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 0.75), (0.5, 1.0), (0.999999, 1.25)])
def test_jitter_spreads_by_a_quarter(chance: float, factor: float) -> None:
    assert BACKOFF.delay(3, chance) == pytest.approx(8 * factor, rel=1e-3)


def test_retry_after_is_waited_for() -> None:
    assert BACKOFF.delay(1, 0.5, retry_after=60) == 60
    assert BACKOFF.delay(6, 0.5, retry_after=1) == 64


@given(st.integers(-5, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e12))
def test_never_longer_than_the_cap(attempt: int, chance: float, retry_after: float | None) -> None:
    assert 0 < BACKOFF.delay(attempt, chance, retry_after) <= 3600
