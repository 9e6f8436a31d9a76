"""The independent reader's memory of a stream: what it must call wrong, and what it must not."""

from bench.chaos.history import ZERO, Entry, History, Id
from bench.chaos.watch import Watch, arguments


def entry(ms: int, notification: str, *, attempt: int = 0, writer: str = "", n: int = 0) -> Entry:
    return Entry(Id(ms, 1), notification, attempt, f"title of {notification}", writer, n)


def history(*entries: Entry) -> History:
    stream = History()
    for each in entries:
        stream.add(each)
    return stream


def test_what_comes_once_and_in_order_is_well() -> None:
    stream = history(entry(1, "a", writer="w", n=1), entry(2, "b", writer="w", n=2), entry(3, "a", attempt=1))
    assert not stream.twice
    assert not stream.out_of_order
    assert not stream.moved


def test_a_second_entry_of_a_notification_is_told() -> None:
    again = entry(3, "a")
    assert history(entry(1, "a"), entry(2, "b"), again).twice == [again]


def test_what_redis_must_have_refused_is_no_entry() -> None:
    late = entry(1, "b")
    stream = history(entry(2, "a"), late)
    assert stream.refused == [late]
    assert set(stream.ids) == {"a:0"}, "so it is missing, unless it comes"


def test_a_writer_whose_second_comes_first_is_told() -> None:
    late = entry(2, "b", writer="w", n=1)
    assert history(entry(1, "a", writer="w", n=2), late).out_of_order == [late]


def test_a_flush_begins_anew() -> None:
    stream = history(entry(1, "a"), entry(2, "b"))
    stream.clear()
    for each in (entry(1, "a"), entry(2, "b")):
        stream.add(each)
    assert stream.twice == stream.out_of_order == []
    assert stream.moved == []
    assert stream.incarnations == 2


def test_what_comes_back_under_another_id_is_told() -> None:
    stream = history(entry(1, "a"))
    stream.clear()
    stream.add(entry(5, "a"))
    assert stream.moved == [(Id(1, 1), entry(5, "a"))]


def test_of_a_lost_tail_only_what_was_lost_may_come_again() -> None:
    stream = history(entry(1, "a"), entry(2, "b"))
    stream.resume(Id(1, 1), [entry(1, "a")])
    stream.add(entry(2, "b"))
    assert stream.twice == stream.out_of_order == []
    stream.add(entry(3, "a"))
    assert [each.notification for each in stream.twice] == ["a"]


def test_what_the_server_got_in_its_last_instant_counts() -> None:
    stream = history(entry(1, "a"))
    stream.resume(Id(2, 1), [entry(2, "b")])
    stream.add(entry(3, "b"))
    assert [each.notification for each in stream.twice] == ["b"]


def test_monitors_lines_are_understood() -> None:
    watch = Watch()
    envelope = r"{\"notification_id\":\"n\",\"payload\":{\"title\":\"t \\\"q\\\" \xc3\xa9\",\"writer\":\"w\",\"n\":7}}"
    line = rf'+1.2 [0 lua] "XADD" "notifications.inapp" "5-1" "envelope" "{envelope}" "attempt" "2"'
    watch.see(line.encode() + b"\r\n")
    held = watch.histories["notifications.inapp"].held
    assert held == {"n:2": Entry(Id(5, 1), "n", 2, 't "q" é', "w", 7)}
    watch.see(b'+1.3 [0 127.0.0.1:1] "FLUSHALL"\r\n')
    assert watch.histories["notifications.inapp"].last == ZERO


def test_words_of_a_command_are_unescaped() -> None:
    assert arguments(rb'+1 [0 a] "ECHO" "a\\b\n\"c\" \xe2\x82\xac"') == ["ECHO", 'a\\b\n"c" €']
