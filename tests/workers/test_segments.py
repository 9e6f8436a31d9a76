"""Segments as networks count them."""

import pytest

from workers.segments import Encoding, segments

GSM, UCS = Encoding.GSM7, Encoding.UCS2


@pytest.mark.parametrize(
    ("text", "encoding", "count"),
    [
        ("", GSM, 1),
        ("a" * 160, GSM, 1),
        ("a" * 161, GSM, 2),
        ("a" * 306, GSM, 2),
        ("a" * 307, GSM, 3),
        ("Grüße aus Ångström @ 5 £", GSM, 1),
        ("€" * 80, GSM, 1),  # two septets each
        ("€" * 81, GSM, 2),
        ("€" * 152, GSM, 2),
        ("€" * 153, GSM, 3),  # 76 in each: an escape is not cut off its character
        ("a" + "€" * 76 + "a" * 153, GSM, 2),
        ("ş" * 70, UCS, 1),
        ("ş" * 71, UCS, 2),
        ("a" * 133 + "ş", UCS, 2),
        ("a" * 134 + "ş", UCS, 3),
        ("😀" * 35, UCS, 1),  # two code units each
        ("😀" * 36, UCS, 2),
        ("😀" * 66, UCS, 2),
        ("😀" * 67, UCS, 3),  # 33 in each: a pair is not cut in two
        ("`", UCS, 1),  # in ASCII, and not in GSM
    ],
)
def test_segments(text: str, encoding: Encoding, count: int) -> None:
    counted = segments(text)
    assert (counted.encoding, counted.count) == (encoding, count)
