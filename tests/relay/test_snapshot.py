"""Ticks as sets of transactions: nothing twice, nothing skipped, whatever the interleaving."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.entries import ZERO, Row, StreamId, Tick, across_ticks
from relay.placement import UNSHARDED
from relay.snapshot import GENESIS, Snapshot, Xid, bound, cut


def snapshot(xmax: int, *xip: int) -> Snapshot:
    return Snapshot(Xid(xmax), frozenset(map(Xid, xip)))


@pytest.mark.parametrize("text", ["10:10:", "7:12:7,9,11", "3:9:3"])
def test_text_survives_both_ways(text: str) -> None:
    assert str(Snapshot.parse(text)) == text


def test_sees_what_postgres_sees() -> None:
    seen = snapshot(12, 7, 9)
    assert [x for x in range(5, 14) if seen.sees(Xid(x))] == [5, 6, 8, 10, 11]


def test_a_backlog_is_cut_before_the_transaction_that_does_not_fit() -> None:
    tick, solo = bound(GENESIS, snapshot(20), [Xid(5), Xid(5), Xid(8), Xid(8)], all_read=False)
    assert (tick, solo) == (snapshot(8), None)


def test_a_transaction_over_the_limit_is_a_tick_of_its_own() -> None:
    tick, solo = bound(snapshot(5), snapshot(20, 12), [Xid(8)] * 4, all_read=False)
    assert (tick, solo) == (snapshot(9), 8)


def test_a_late_commit_over_the_limit_leaves_later_ones_for_the_next_tick() -> None:
    # 4 and 6 were in progress at the previous tick; 4 alone is over the limit.
    previous = snapshot(10, 4, 6)
    tick, solo = bound(previous, snapshot(20), [Xid(4)] * 4, all_read=False)
    assert (tick, solo) == (snapshot(10, 6), 4)


@st.composite
def histories(draw: st.DrawFn) -> list[Snapshot]:
    """Snapshots in the order they were taken, while transactions begin and end."""
    running: set[int] = set()
    next_xid, taken = 3, []
    for act in draw(st.lists(st.sampled_from(["begin", "end", "look"]), min_size=1, max_size=60)):
        if act == "begin":
            running.add(next_xid)
            next_xid += 1
        elif act == "end" and running:
            running.remove(draw(st.sampled_from(sorted(running))))
        elif act == "look":
            taken.append(snapshot(next_xid, *running))
    return [*taken, snapshot(next_xid)]


@given(histories(), st.integers(1, 4), st.data())
def test_every_ended_transaction_is_in_exactly_one_tick(
    taken: list[Snapshot], limit: int, data: st.DataObject
) -> None:
    rows_of = {x: data.draw(st.integers(0, 6), label=f"rows of {x}") for x in range(3, taken[-1].xmax)}
    ticks, solos, previous = [], [], GENESIS
    for current in taken + [taken[-1]] * (len(rows_of) + 1):
        fresh = [
            Xid(x)
            for x, n in rows_of.items()
            if current.sees(Xid(x)) and not previous.sees(Xid(x))
            for _ in range(n)
        ]
        if not fresh:
            continue
        tick, solo = bound(previous, current, fresh[: limit + 1], all_read=len(fresh) <= limit)
        inside = [x for x in fresh if tick.sees(x)]
        assert inside, "a tick without rows would never end a backlog"
        assert all(tick.sees(x) for x in map(Xid, rows_of) if previous.sees(x)), "ticks only grow"
        assert len(inside) <= limit or set(inside) == {solo}, "a tick over the limit is one transaction"
        ticks.append(set(inside))
        solos.append(solo)
        previous = tick
    shipped = [x for tick in ticks for x in tick]
    assert sorted(shipped) == [x for x, n in rows_of.items() if n], "each once, none skipped"


@given(histories())
def test_rows_find_the_tick_that_saw_them_first(taken: list[Snapshot]) -> None:
    ticks = [
        Tick(no, 100 * no, each, {}, frozenset(), None, 1, 1, 0, UNSHARDED)
        for no, each in enumerate(taken, 1)
    ]
    rows = [Row(x, Xid(x), "inapp", "normal", 0, "producer", "{}") for x in range(3, taken[-1].xmax)]
    entries = across_ticks(ticks, rows, ZERO)
    expected = [StreamId(next(t.ms for t in ticks if t.snapshot.sees(r.xid)), r.id) for r in rows]
    assert [entry.top for entry in entries] == sorted(expected)
    assert [e.top for e in across_ticks(ticks, rows, StreamId(200, 5))] == [
        e for e in sorted(expected) if e > (200, 5)
    ]


def test_cut_keeps_what_is_running() -> None:
    assert cut(GENESIS, snapshot(20, 5, 9), Xid(8)) == snapshot(8, 5)
