"""The long tests begin first, in every process."""

import pytest

from tests.order import dealt


@pytest.mark.parametrize("short", [0, 1, 2, 7, 100, 101, 102])
def test_each_share_begins_with_its_part_of_the_long_ones(short: int) -> None:
    long, rest = [-1, -2, -3, -4, -5], list(range(short))
    order = dealt(long, rest, 3)
    assert sorted(order) == sorted(long + rest)
    assert [each for each in order if each >= 0] == rest, "neighbours stay neighbours"
    if short >= 100:
        first, second = len(order) // 3, len(order) // 3 + (len(order) - len(order) // 3) // 2
        assert [order[:2], order[first : first + 2], order[second]] == [[-1, -4], [-2, -5], -3]


def test_one_process_keeps_what_is_left() -> None:
    assert dealt([9], [1, 2], 1) == [9, 1, 2]
