"""Limits of a producer's key."""

import pytest

from outbox.limits import NONE, Limits


@pytest.mark.parametrize(
    ("limits", "event_type", "channels", "broken"),
    [
        (NONE, "any.thing", ["fax"], []),
        (Limits(("order.*", "login")), "order.paid", ["fax"], []),
        (Limits(("order.*", "login")), "login", [], []),
        (Limits(("order.*", "login")), "orders.paid", [], ["event_type"]),
        (Limits(("order.*",)), "order", [], ["event_type"]),
        (Limits(("*",)), "any.thing", [], []),
        (Limits(channels=frozenset({"inapp", "email"})), "a", ["email"], []),
        (Limits(channels=frozenset({"inapp"})), "a", ["inapp", "email"], ["channels"]),
        (Limits(("b",), frozenset({"inapp"})), "a", ["email"], ["event_type", "channels"]),
    ],
)
def test_each_field_that_is_outside_is_named(
    limits: Limits, event_type: str, channels: list[str], broken: list[str]
) -> None:
    assert [field for field, _ in limits.broken(event_type, channels)] == broken


def test_no_limits_are_none() -> None:
    assert not NONE
    assert Limits(channels=frozenset())
