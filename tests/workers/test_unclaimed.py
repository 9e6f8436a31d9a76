"""Which entries the next claim takes: no Postgres, no Redis."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from outbox.envelope import Envelope
from workers.entries import Entry
from workers.unclaimed import Unclaimed


def entry(number: int, notification: int | None = None) -> Entry:
    named = {"notification_id": UUID(int=notification or number)}
    envelope = Envelope.model_construct(**named)  # type: ignore[arg-type]  # nothing else is looked at
    return Entry(f"1-{number}".encode(), envelope, 0)


def test_a_failed_batch_is_taken_again_under_its_token() -> None:
    unclaimed = Unclaimed()
    unclaimed.add([entry(1)])
    first = unclaimed.take()
    assert unclaimed.take() == first
    unclaimed.begun(first[0])
    assert not unclaimed
    unclaimed.add([entry(2)])
    assert unclaimed.take()[1] != first[1]


def test_a_notification_that_comes_twice_is_taken_one_after_the_other() -> None:
    unclaimed = Unclaimed()
    unclaimed.add([entry(1, notification=7), entry(2, notification=7)])
    (first,), token = unclaimed.take()
    unclaimed.begun([first])
    (second,), other = unclaimed.take()
    assert (first.id, second.id) == (b"1-1", b"1-2")
    assert token != other


@given(st.integers(1, 70).flatmap(lambda number: st.tuples(st.just(number), st.sets(st.integers(1, number)))))
def test_only_those_to_blame_are_left_alone_and_the_others_begin(drawn: tuple[int, set[int]]) -> None:
    number, poisonous = drawn
    unclaimed, begun, alone, tokens = Unclaimed(), set(), set(), set()
    unclaimed.add(map(entry, range(1, number + 1)))
    while unclaimed:
        batch, token = unclaimed.take()
        tokens.add(token)
        numbers = {each.notification_id.int for each in batch}
        if not numbers & poisonous:
            begun |= numbers
            unclaimed.begun(batch)
        elif found := unclaimed.failed(batch):
            alone.add(found.notification_id.int)
    assert (alone, begun) == (poisonous, set(range(1, number + 1)) - poisonous)
    assert len(tokens) == 1, "a claim of the whole batch may have been made before the first failure"


def test_what_is_forgone_says_what_may_have_been_claimed() -> None:
    unclaimed = Unclaimed()
    unclaimed.add([entry(1, notification=7), entry(2, notification=7)])
    _, token = unclaimed.take()
    left, claimed, told = unclaimed.forgo()
    assert ([each.id for each in left], [each.id for each in claimed], told) == ([b"1-2"], [b"1-1"], token)
    assert not unclaimed
