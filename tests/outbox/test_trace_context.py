"""Trace contexts as they come from anybody: what is none is passed over, and log lines name the one at hand."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.trace_context import SHAPE, TraceContext, Within, here, leave, named, parse, trace_id

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_what_it_says() -> None:
    assert parse(GOOD) == TraceContext(TRACE, SPAN, 1)
    assert trace_id(GOOD) == TRACE
    assert str(parse(GOOD)) == GOOD


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)]
)
def test_the_lowest_bit_says_whether_it_is_sampled(flags: str, sampled: bool) -> None:
    context = parse(f"00-{TRACE}-{SPAN}-{flags}")
    assert context is not None
    assert context.sampled is sampled


HOSTILE = {
    "none": None,
    "empty": "",
    "words": "garbage",
    "upper case": GOOD.upper(),
    "version ff": f"ff-{TRACE}-{SPAN}-01",
    "no trace": f"00-{'0' * 32}-{SPAN}-01",
    "no span": f"00-{TRACE}-{'0' * 16}-01",
    "more fields": f"{GOOD}-extra",
    "line break": f"{GOOD}\n",
    "leading space": f" {GOOD}",
    "other digits": f"00-{'٣' * 32}-{SPAN}-01",
    "NUL": f"00-{TRACE}-{SPAN}-0\x00",
    "long": "0" * 100_000,
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_what_is_none_is_passed_over(value: str | None) -> None:
    assert parse(value) is None
    assert trace_id(value) is None


@given(st.one_of(st.text(), st.from_regex(SHAPE, fullmatch=True)))
def test_anything_is_a_context_or_none(text: str) -> None:
    context = parse(text)
    assert context is None or str(context)[3:] == text[3:]


def event() -> dict[str, Any]:
    return dict(named(None, "info", {"event": "x"}))


def test_log_lines_name_it_inside_only() -> None:
    with Within(GOOD):
        assert event() == {"event": "x", "trace_id": TRACE, "span_id": SPAN}
        with Within(None):
            assert event() == {"event": "x"}
        assert here() == GOOD
    assert event() == {"event": "x"}


async def test_tasks_inherit_it_and_may_leave_it() -> None:
    async def seen(*, leaving: bool) -> str | None:
        if leaving:
            leave()
        return here()

    with Within(GOOD):
        inside, outside = await asyncio.gather(seen(leaving=False), seen(leaving=True))
        assert (inside, outside, here()) == (GOOD, None, GOOD)
