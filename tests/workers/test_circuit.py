"""The circuit of a provider, on a clock of its own."""

import pytest

from workers.circuit import SHOWN_SECONDS, Admission, Circuit, Limits, Sign, State

LIMITS = Limits(in_a_row=3, enough=10, share=0.5, cool_down=4, cool_down_cap=10, jitter=0.25)
MIDDLE = 0.5  # the chance at which jitter changes nothing


def circuit() -> Circuit:
    return Circuit(LIMITS)


def attempt(it: Circuit, sign: Sign, now: float, chance: float = MIDDLE) -> Admission:
    admission = it.admit(now)
    it.record(admission, sign, now, chance)
    return admission


def state(it: Circuit) -> State:
    return it.state


def opened(now: float = 0) -> Circuit:
    it = circuit()
    for _ in range(LIMITS.in_a_row):
        attempt(it, Sign.ILL, now)
    return it


def test_failures_in_a_row_open_it_for_the_cool_down() -> None:
    it = circuit()
    assert [attempt(it, Sign.ILL, 0) for _ in range(3)] == [Admission.ADMITTED] * 3
    assert state(it) is State.OPEN
    assert it.admit(3.9) is Admission.REFUSED
    assert it.wait(1) == 3


def test_one_that_nobody_has_asked_since_is_not_shown_as_open_for_ever() -> None:
    it = opened(0)
    assert it.shown(4 + SHOWN_SECONDS) is State.OPEN, "little comes this way"
    assert it.shown(4.1 + SHOWN_SECONDS) is State.HALF_OPEN
    later = 2 * SHOWN_SECONDS
    probe = it.admit(later)
    assert (probe, it.shown(later + 30)) == (Admission.PROBE, State.OPEN), "until it gets through"
    it.record(probe, Sign.ILL, later + 30, MIDDLE)
    assert it.shown(later + 60) is State.OPEN
    attempt(it, Sign.WELL, later + 100)
    assert it.shown(later + 101) is State.CLOSED


def test_a_success_in_between_begins_the_row_anew() -> None:
    it = circuit()
    for sign in (Sign.ILL, Sign.ILL, Sign.WELL, Sign.ILL, Sign.ILL):
        attempt(it, sign, 0)
    assert state(it) is State.CLOSED


def test_what_says_nothing_of_its_health_does_not_open_it() -> None:
    it = circuit()
    for _ in range(50):
        attempt(it, Sign.NONE, 0)
    assert state(it) is State.CLOSED


def test_a_large_share_of_failures_opens_it() -> None:
    it = circuit()
    for number in range(9):
        attempt(it, Sign.ILL if number % 2 else Sign.WELL, number)
    assert state(it) is State.CLOSED  # too few yet to say
    attempt(it, Sign.ILL, 9)
    assert state(it) is State.OPEN


def test_failures_of_long_ago_do_not_count() -> None:
    it = circuit()
    for number in range(9):
        attempt(it, Sign.ILL if number % 2 else Sign.WELL, number)
    attempt(it, Sign.ILL, 100)
    assert state(it) is State.CLOSED


def test_one_refused_login_opens_it() -> None:
    it = circuit()
    attempt(it, Sign.BROKEN, 0)
    assert state(it) is State.OPEN


def test_one_probe_at_a_time_and_it_closes_the_circuit() -> None:
    it = opened()
    assert it.admit(4) is Admission.PROBE
    assert state(it) is State.HALF_OPEN
    assert it.admit(4) is Admission.REFUSED
    assert it.wait(4) == LIMITS.probe_seconds
    it.record(Admission.PROBE, Sign.WELL, 5, MIDDLE)
    assert state(it) is State.CLOSED
    assert it.admit(5) is Admission.ADMITTED


def test_each_failed_probe_doubles_the_cool_down_up_to_the_cap() -> None:
    it, now, waits = opened(), 4.0, []
    for _ in range(3):
        assert attempt(it, Sign.ILL, now) is Admission.PROBE
        waits.append(it.wait(now))
        now += it.wait(now)
    assert waits == [8, 10, 10]


def test_after_it_closed_the_cool_down_is_short_again() -> None:
    it = opened()
    attempt(it, Sign.ILL, 4)
    attempt(it, Sign.WELL, 12)
    for _ in range(3):
        attempt(it, Sign.ILL, 13)
    assert it.wait(13) == 4


def test_a_probe_that_came_to_nothing_lets_another_one_go() -> None:
    it = opened()
    assert it.admit(4) is Admission.PROBE
    it.release(Admission.PROBE)
    assert it.admit(4) is Admission.PROBE


def test_a_late_failure_from_before_changes_nothing_a_late_success_closes() -> None:
    it = opened()
    it.record(Admission.ADMITTED, Sign.ILL, 3, MIDDLE)
    assert it.wait(3) == 1
    assert it.admit(4) is Admission.PROBE
    it.record(Admission.ADMITTED, Sign.ILL, 4, MIDDLE)
    assert state(it) is State.HALF_OPEN
    assert it.admit(4) is Admission.REFUSED  # the probe is still on its way
    it.record(Admission.ADMITTED, Sign.WELL, 4, MIDDLE)
    assert state(it) is State.CLOSED


def test_it_rests_for_as_long_as_it_asked() -> None:
    it = circuit()
    it.rest(0, 7)
    assert it.admit(6.9) is Admission.REFUSED
    assert it.resting(6.9)
    assert it.admit(7) is Admission.ADMITTED


def test_nobody_rests_for_ever() -> None:
    it = circuit()
    it.rest(0, 1e9)
    assert it.wait(0) == LIMITS.rest_cap


@pytest.mark.parametrize(("chance", "wait"), [(0, 3), (0.5, 4), (1, 5)])
def test_jitter(chance: float, wait: float) -> None:
    it = circuit()
    attempt(it, Sign.BROKEN, 0, chance)
    assert it.wait(0) == wait
