"""Blocks of rows into pages of entries: whatever goes which way, every stream gets its rows once and in order."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from outbox.streams import Keys
from relay.entries import Block, Page, StreamId, by_stream, missing, of_tick, pages
from relay.placement import UNSHARDED

BLOCK = 8
HUGE = 2**53 - 10  # no double holds all ids from here on
KEYS = Keys("t.")
Kind = tuple[str, str, int]  # channels, priority, attempt
KINDS: list[Kind] = [
    ("inapp", "normal", 0),
    ("inapp", "normal", 1),
    ("email inapp", "normal", 0),
    ("email", "bulk", 0),
]
KIND = st.sampled_from(KINDS)
LOGS = st.dictionaries(st.integers(HUGE, HUGE + 40), KIND, min_size=1) | st.dictionaries(
    st.integers(1, 300), KIND, min_size=1
)


def blocks_of(log: dict[int, Kind]) -> list[Block]:
    """As Postgres makes them."""
    found: dict[tuple[int, Kind], list[int]] = {}
    for row in sorted(log):
        found.setdefault((row // BLOCK, log[row]), []).append(row)
    return [
        Block(rows[0], rows[-1], *kind, 0, len(rows), b"".join(b'%d {"n":%d}\n' % (row, row) for row in rows))
        for (_, kind), rows in found.items()
    ]


def rows_of(log: dict[int, Kind], channel: str, priority: str) -> list[int]:
    return sorted(
        row for row, (channels, lane, _) in log.items() if channel in channels.split() and lane == priority
    )


def rows_in(made: Sequence[Page]) -> list[int]:
    """As the script reads them."""
    found = []
    for page in made:
        lines = page.lines.decode().split("\n")[:-1]
        found += [StreamId.parse(page.begin + line.partition(" ")[0]).row for line in lines]
        assert page.entries == len(lines)
        assert page.top == (page.top.ms, found[-1])
    return found


@given(LOGS)
def test_every_stream_gets_its_rows_in_order_whatever_lies_between_them(log: dict[int, Kind]) -> None:
    streams = by_stream(blocks_of(log), KEYS, UNSHARDED)
    for channel, priority in (("inapp", "normal"), ("email", "normal"), ("email", "bulk")):
        blocks = streams.get(KEYS.stream(channel, priority), [])
        assert rows_in(list(of_tick(7, blocks))) == rows_of(log, channel, priority)


@given(LOGS, st.data())
def test_what_a_stream_has_of_a_tick_is_left_out_in_the_midst_of_a_block_too(
    log: dict[int, Kind], data: st.DataObject
) -> None:
    blocks = by_stream(blocks_of(log), KEYS, UNSHARDED).get("t.notifications.inapp", [])
    rows = rows_of(log, "inapp", "normal")
    top = data.draw(st.integers(min(log) - 1, max(log) + 1))
    left = list(of_tick(7, missing(blocks, 7, StreamId(7, top))))
    assert rows_in(left) == [row for row in rows if row > top]
    assert rows_in(list(of_tick(7, missing(blocks, 7, StreamId(6, 2**60))))) == rows, "of the tick before"
    assert not missing(blocks, 7, StreamId(8, 0)), "of the tick behind"


@given(LOGS, st.integers(1, 30), st.integers(1, 200))
def test_pages_are_bounded_and_of_one_attempt_number(log: dict[int, Kind], most: int, size: int) -> None:
    blocks = by_stream(blocks_of(log), KEYS, UNSHARDED).get("t.notifications.inapp", [])
    parts = list(of_tick(7, blocks))
    made = list(pages(parts, most, size))
    assert rows_in(made) == rows_of(log, "inapp", "normal")
    attempts = {row: attempt for row, (_, _, attempt) in log.items()}
    biggest = max((len(part.lines) for part in parts), default=0)
    for page in made:
        assert {attempts[row] for row in rows_in([page])} == {page.attempt}
        assert page.entries <= max(most, BLOCK)
        assert len(page.lines) <= size + biggest


def test_entries_whose_lines_begin_otherwise_are_not_mixed() -> None:
    one, other = Page(StreamId(7, 1), 1, 0, "7-", b"1 {}\n"), Page(StreamId(8, 1), 1, 0, "8-", b"1 {}\n")
    assert list(pages([one, other], 500, 1000)) == [one, other]
