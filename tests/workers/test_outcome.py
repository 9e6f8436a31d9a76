"""Reasons: what a far side says becomes fit for the timeline, whatever it says and at no great cost."""

import time

import pytest

from db.delivery import Tried
from workers.outcome import (
    REASON_CHARACTERS,
    Deferred,
    Delivered,
    LeaseShort,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Unknown,
    clean,
    sends,
)


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
    began = time.thread_time()
    shown = clean(part * 100_000)
    assert time.thread_time() - began < 1
    assert len(shown) <= REASON_CHARACTERS


@pytest.mark.parametrize(
    ("outcome", "number"),
    [
        (Delivered(provider="a"), 1),
        (Delivered(provider="a", found=True), 0),
        (Delivered(), 0),
        (Delivered(sends=3), 3),  # no provider: what reached them was of no avail
        (Unknown("silence", "a"), 1),
        (Transient("connection", "refused", None, "a"), 0),
        (Transient("config", "404", None, "a", sends=1), 1),
        (Throttled("421 at the door", None, "a", sends=0), 0),
        (Permanent("template", "no such template"), 0),
        (Transient("http_5xx", "503", None, "b", (Tried("a", "http_5xx", "503", 2),)), 3),
        (Deferred("circuit_open", "both ill", tried=(Tried("a", "http_5xx", "503", 1),)), 1),
        (LeaseShort(), 0),
    ],
)
def test_sends_are_the_requests_that_reached_somebody(outcome: Outcome, number: int) -> None:
    assert sends(outcome) == number
