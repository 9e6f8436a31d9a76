"""What a lane keeps between two steps."""

from workers.recent import Recent


def test_the_oldest_goes() -> None:
    recent: Recent[int, str] = Recent(2)
    recent.update({1: "a", 2: "b"})
    recent.put(1, "again")
    recent.put(3, "c")
    assert [recent.get(key) for key in (1, 2, 3)] == ["again", None, "c"]


def test_what_is_taken_is_gone() -> None:
    recent: Recent[int, str] = Recent(2)
    recent.put(1, "a")
    assert (recent.take(1), recent.take(1)) == ("a", None)
