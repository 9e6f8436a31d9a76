"""The audit of `python -m bench.channels`: it must find what it is there to find."""

from collections import Counter
from typing import Any

import pytest

from bench.channels.audit import Delivery, Event, Findings, Line, audit, lines
from bench.channels.menu import OF_REQUESTS, Odds

ONE = "0190-one"


def delivery(status: str | None, *told: tuple[str, dict[str, Any]], channel: str = "sms") -> Delivery:
    events = [Event(event, number, detail) for number, (event, detail) in enumerate(told, 1)]
    return Delivery(ONE, channel, status, events)


def audited(one: Delivery, *providers: str) -> Findings:
    return audit([(ONE, one.channel)], [one], Counter((provider, ONE) for provider in providers))


DELIVERED = ("delivered", {"provider": "twilio", "sends": 1})
BUSY = {"provider": "twilio", "sends": 1, "error_class": "http_5xx", "reason": "503"}
SILENT = {"provider": "twilio", "sends": 1, "error_class": "unknown", "reason": "silence"}


@pytest.mark.parametrize(
    ("one", "providers"),
    [
        (delivery("delivered", DELIVERED), ["twilio"]),
        (delivery("delivered", ("retrying", BUSY), DELIVERED), ["twilio", "twilio"]),
        (delivery("delivered", ("retrying", SILENT), ("delivered", {"found": True})), ["twilio"]),
        (delivery("failed", ("failed", BUSY)), ["twilio"]),
        (delivery("suppressed", ("suppressed", {"reason": "switched off"})), []),
        (Delivery(ONE, "inapp", "delivered", [Event("delivered", 1, {})], in_inbox=True), []),
    ],
)
def test_what_is_in_order(one: Delivery, providers: list[str]) -> None:
    found = audited(one, *providers)
    assert found.holds
    assert not found.lost


@pytest.mark.parametrize(
    ("one", "providers", "wrong"),
    [
        (delivery(None), [], "unfinished"),
        (delivery("retrying", ("retrying", BUSY)), ["twilio"], "unfinished"),
        (delivery("failed", ("retrying", BUSY)), ["twilio"], "unexplained"),
        (delivery("failed", ("failed", {"sends": 1, "reason": "503"})), ["twilio"], "unexplained"),
        (delivery("suppressed", ("suppressed", {})), [], "unexplained"),
        (delivery("delivered", ("delivered", {})), [], "unexplained"),
        (delivery("delivered", ("delivered", {}), channel="inapp"), [], "unexplained"),
        (delivery("delivered", DELIVERED), [], "unequal"),
        (delivery("delivered", DELIVERED), ["twilio", "twilio"], "unequal"),
        (delivery("delivered", ("retrying", BUSY), DELIVERED), ["twilio"], "unequal"),
        (delivery("delivered", DELIVERED), ["twilio", "fcm"], "strangers"),
    ],
)
def test_what_is_not(one: Delivery, providers: list[str], wrong: str) -> None:
    found = audited(one, *providers)
    assert not found.holds
    assert len(getattr(found, wrong)) == 1


def test_a_request_that_had_left_may_be_lost_where_the_timeline_says_unknown() -> None:
    found = audited(delivery("delivered", ("retrying", SILENT), DELIVERED), "twilio")
    assert found.holds
    assert found.lost == {"sms": 1}


TAKEN_OVER = ("taken_over", {"by": "b", "from": "a"})


def test_who_was_taken_over_from_may_have_sent_and_cannot_tell() -> None:
    found = audited(delivery("delivered", TAKEN_OVER, DELIVERED), "twilio", "twilio")
    assert found.holds
    assert found.untold == {"sms": 1}
    assert not audited(delivery("delivered", TAKEN_OVER, DELIVERED), *["twilio"] * 4).holds


def test_a_notification_that_nobody_has_is_missing() -> None:
    assert audit([(ONE, "sms")], [], {}).missing == [f"sms {ONE}"]


def test_each_provider_has_the_requests_that_were_told_of_it() -> None:
    tried = [{"provider": "twilio", "sends": 2, "error_class": "http_5xx", "reason": "503"}]
    told = ("delivered", {"provider": "twilio-b", "sends": 3, "tried": tried})
    arrivals = {("twilio", ONE): 2, ("twilio-b", ONE): 1}
    assert lines([delivery("delivered", told)], arrivals) == {"twilio": Line(2, 2), "twilio-b": Line(1, 1)}


def test_every_fault_strikes_at_its_share() -> None:
    odds = Odds(share=0.1)
    throws = iter([number / 1000 for number in range(1000)])
    odds.chance = lambda: next(throws)
    taken = [odds.take(connecting=False) for _ in range(1000)]
    assert sum(fault is not None for fault in taken) == 100
    assert odds.struck.keys() == OF_REQUESTS.keys()
    assert max(odds.struck.values()) - min(odds.struck.values()) <= 1
