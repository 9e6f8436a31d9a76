"""In which order tests begin where several processes share them: the long ones first, some of them in each process."""

from collections.abc import Sequence
from itertools import islice
from typing import TypeVar

import pytest

T = TypeVar("T")


def longest_first(items: list[pytest.Item], processes: int) -> list[pytest.Item]:
    """At the end of a run nobody waits for a test of minutes that was begun last. What takes long is what has been
    given a time of its own."""
    long = sorted((item for item in items if seconds_of(item)), key=seconds_of, reverse=True)
    return dealt(long, [item for item in items if not seconds_of(item)], processes)


def seconds_of(item: pytest.Item) -> float:
    """How long it may take; 0 where nothing special is said."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else 0


def dealt(long: Sequence[T], short: Sequence[T], processes: int) -> list[T]:
    """Cut as `--dist worksteal` does at first, each process's share begins with its part of the long ones."""
    made, rest, left = list[T](), iter(short), len(long) + len(short)
    for number in range(processes):
        share, mine = left // (processes - number), long[number::processes]
        made += [*mine, *islice(rest, max(share - len(mine), 0))]
        left -= share
    return [*made, *rest]
