"""The audit of bench.stack must find what is wrong, and read Redis's log as it is."""

import json

import pytest

from bench.channels.audit import Delivery
from bench.stack.aof import commands, histories
from bench.stack.audit import Arrived, Gap, by_channel, gap, live, unsettled


def command(*words: str) -> bytes:
    parts = (f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


def xadd(stream: str, at: str, notification: str, attempt: int = 0) -> bytes:
    envelope = {"notification_id": notification, "payload": {"title": f"title of {notification}, ü\r\n"}}
    return command("XADD", stream, at, "envelope", json.dumps(envelope), "attempt", str(attempt))


def test_the_log_says_what_a_stream_has_held() -> None:
    log = (
        command("SELECT", "0") + xadd("notifications.sms", "5-1", "a") + xadd("notifications.sms", "5-2", "b")
    )
    log += command("XDEL", "notifications.sms", "5-1") + xadd("other", "1-1", "c")
    found = histories(log)
    assert list(found) == ["notifications.sms"]
    assert set(found["notifications.sms"].held) == {"a:0", "b:0"}


def test_an_entry_that_comes_twice_is_found_and_one_that_comes_again_after_a_loss_is_none() -> None:
    twice = xadd("notifications.sms", "5-1", "a") + xadd("notifications.sms", "6-1", "a")
    assert [each.notification for each in histories(twice)["notifications.sms"].twice] == ["a"]
    again = (
        xadd("notifications.sms", "5-1", "a") + command("FLUSHALL") + xadd("notifications.sms", "5-1", "a")
    )
    assert not histories(again)["notifications.sms"].twice
    assert not histories(again)["notifications.sms"].moved


@pytest.mark.parametrize("cut", [1, 5, 12, 40])
def test_a_log_that_was_cut_off_ends_before_its_last_command(cut: int) -> None:
    whole = command("SELECT", "0")
    assert list(commands(whole + xadd("notifications.sms", "5-1", "a")[:cut])) == [[b"SELECT", b"0"]]


def test_notes_of_the_time_are_passed_over() -> None:
    assert list(commands(b"#TS:1700000000\r\n" + command("ping"))) == [[b"PING"]]


def test_the_longest_silence_of_any_channel_counts() -> None:
    steady = [Arrived("inapp", at, at + 0.1) for at in range(100, 130)]
    held_up = [Arrived("email", at, at + 0.2) for at in (100, 101)] + [
        Arrived("email", at, 112.0 + at / 1000) for at in range(102, 112)
    ]
    arrivals = by_channel([*held_up, *steady])
    found = gap(arrivals, 102, 111)
    assert (found.channel, found.slowest_channel) == ("email", "email")
    assert found.seconds == pytest.approx(10.9, abs=0.01)
    assert found.slowest == pytest.approx(10.1, abs=0.01)
    assert gap(by_channel(steady), 102, 111).seconds == pytest.approx(1.0)
    assert gap(arrivals, 105, 111).seconds == pytest.approx(1.0), "that silence began with another fault"
    assert gap({}, 1, 2) == Gap()


@pytest.mark.parametrize(
    ("status", "opened", "held"), [("delivered", 0, 0), (None, 1, 0), ("failed", 1, 0), ("unknown", 0, 1)]
)
def test_a_delivery_that_has_not_ended_well_is_found(status: str | None, opened: int, held: int) -> None:
    found = unsettled([Delivery("a", "sms", status)])
    assert (len(found.open), len(found.held)) == (opened, held)


def test_a_live_inbox_is_told_all_of_it_once() -> None:
    found = live({"anna": {"a": 1, "b": 2}, "ben": {}}, {"anna": ["a", "b", "c"]})
    assert (found.missing, found.twice) == (["anna c"], ["anna b"])
