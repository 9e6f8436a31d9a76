"""Falling asleep without missing anybody: the pure state machine."""

from relay.snapshot import Snapshot, Xid
from relay.wake import Mode, Sleep


def snapshot(xmax: int, *xip: int) -> Snapshot:
    return Snapshot(Xid(xmax), frozenset(map(Xid, xip)))


def asleep(sleep: Sleep) -> bool:
    return sleep.mode is Mode.ASLEEP


def test_it_lingers_awake_after_the_last_row() -> None:
    sleep = Sleep(linger=0.1, poll=5)
    sleep.found(10.0)
    assert not sleep.found_nothing(10.05, snapshot(9))
    assert sleep.found_nothing(10.11, snapshot(9)), "asks for the flag to say asleep"


def test_it_relies_on_notifications_only_when_everyone_of_before_the_flag_has_ended() -> None:
    sleep = Sleep(linger=0.1, poll=5)
    sleep.found_nothing(1.0, snapshot(9, 7))
    sleep.fell(Xid(10))
    sleep.found_nothing(1.1, snapshot(12, 7, 11))
    assert not asleep(sleep)
    assert sleep.next_pause() < 0.2, "7 may have tested the flag while it said awake"
    sleep.found_nothing(1.2, snapshot(14, 11))
    assert asleep(sleep), "11 began after the flag was set, so it will notify"
    assert sleep.next_pause() == 5


def test_rows_found_asleep_ask_for_the_flag_once() -> None:
    sleep = Sleep(linger=0.1, poll=5)
    sleep.fell(Xid(9))
    sleep.found_nothing(1.0, snapshot(10))
    assert sleep.found(2.0)
    assert not sleep.found(2.1)


def test_pauses_grow_but_stay_short_while_awake() -> None:
    sleep = Sleep(linger=10, poll=5)
    pauses = [sleep.next_pause() for _ in range(30)]
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 0.02


def test_after_a_loss_the_flag_is_set_anew_even_if_the_relay_never_rests() -> None:
    sleep = Sleep(linger=0.1, poll=5)
    assert sleep.found(1.0)
    assert not sleep.found(1.1)
    sleep.forget()
    assert sleep.found(1.2), "whoever led meanwhile may have left it at asleep"
