"""What is remembered: until its time is over, and only so much of it."""

from outbox.recall import Recall


def test_until_its_time_is_over() -> None:
    recall: Recall[str, int] = Recall()
    recall.put("a", 1, until=10.0)
    assert recall.get("a", 9.9) == 1
    assert recall.get("a", 10.0) is None
    assert recall.get("b", 0.0) is None


def test_the_oldest_goes_first_and_what_is_put_again_is_new() -> None:
    recall: Recall[str, int] = Recall(most=2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        recall.put(key, value, until=10.0)
    assert [recall.get(key, 0.0) for key in "abc"] == [3, None, 4]


def test_forgotten_is_gone() -> None:
    recall: Recall[str, int] = Recall()
    recall.put("a", 1, until=10.0)
    recall.forget("a")
    recall.forget("a")
    assert recall.get("a", 0.0) is None
