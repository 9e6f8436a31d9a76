"""Reasons: what a far side says becomes fit for the timeline, whatever it says and at no great cost."""

import time

import pytest

from workers.outcome import REASON_CHARACTERS, clean


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("550 <ann@example.org> unknown", "550 <***@***> unknown"),
        ("to:ann@example.org,", "***@***"),
        ("a\x00b\nc", "a b c"),
        ("\ud800", ""),
    ],
)
def test_reasons_are_cleaned(reason: str, shown: str) -> None:
    assert clean(reason) == shown


@pytest.mark.parametrize("part", ["a", "a@", "@", "a "])
def test_a_long_answer_holds_nobody_up(part: str) -> None:
    """The event loop waits: a run of 20,000 characters took seconds once."""
    began = time.perf_counter()
    shown = clean(part * 100_000)
    assert time.perf_counter() - began < 0.2
    assert len(shown) <= REASON_CHARACTERS
