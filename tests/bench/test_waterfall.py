"""The picture of a trace: every span beneath its parent, on a scale that leaves out the waiting."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from bench.tracing.collector import Told
from bench.tracing.timeline import BREAK_WIDTH, Scale, rows, steps
from bench.tracing.waterfall import draw, span_of_time

SVG = "{http://www.w3.org/2000/svg}"
MS = 1_000_000


def span(name: str, begins: int, ends: int, parent: str = "gone", **more: str | int) -> Told:
    attributes = {key.replace("_", "."): value for key, value in more.items()}
    return Told(
        "outbox-worker", name, "CONSUMER", "t" * 32, name, parent, begins * MS, ends * MS, "error.type" in attributes,
        attributes, (),
    )  # fmt: skip


TRACE = [
    span("send", 0, 20),
    span("publish email", 10, 12, "send", messaging_destination_name="email"),
    span("publish sms", 11, 12, "send", messaging_destination_name="sms"),
    span("process email", 15, 60, "send", messaging_destination_name="email", error_type="http_5xx"),
    span("claim <&>", 15, 20, "process email"),
    span("again", 1060, 1080, "send", messaging_destination_name="email", outbox_attempt=2),
]


def test_each_stands_beneath_its_parent_and_streams_stay_together() -> None:
    found = [(row.span.name, row.depth) for row in rows(TRACE[::-1])]
    assert found == [
        ("send", 0),
        ("publish email", 1),
        ("process email", 1),
        ("claim <&>", 2),
        ("again", 1),
        ("publish sms", 1),
    ]


def test_the_scale_leaves_out_the_waiting_and_keeps_the_order() -> None:
    scale = Scale(TRACE, 100, 1000)
    assert [stretch.idle for stretch in scale.stretches] == [False, True, False]
    assert [scale.place(0), scale.place(1080 * MS)] == pytest.approx([100, 1000])
    assert scale.place(1060 * MS) - scale.place(60 * MS) == pytest.approx(BREAK_WIDTH)
    places = [scale.place(moment * MS) for moment in (0, 10, 60, 500, 1060, 1070, 1080)]
    assert all(before < after for before, after in pairwise(places))


@pytest.mark.parametrize(
    ("nanoseconds", "most", "step"), [(1, 8, 1), (79, 8, 10), (81, 8, 20), (1_000, 4, 500)]
)
def test_steps(nanoseconds: int, most: int, step: int) -> None:
    assert steps(nanoseconds, most) == step


@pytest.mark.parametrize(
    ("nanoseconds", "words"),
    [(100_000, "0.1 ms"), (2 * MS, "2 ms"), (123_456_789, "123 ms"), (1_260 * MS, "1.26 s")],
)
def test_durations(nanoseconds: int, words: str) -> None:
    assert span_of_time(nanoseconds) == words


def test_a_trace_becomes_a_picture() -> None:
    root = ElementTree.fromstring(draw(TRACE, "five & <six>"))
    words = {each.text for each in root.iter(f"{SVG}text")}
    assert {
        "five & <six>",
        "claim <&>",
        "45 ms · http_5xx",
        "20 ms · attempt 2",
        "1.00 s of waiting",
    } <= words
    assert len(list(root.iter(f"{SVG}circle"))) == len(TRACE)
