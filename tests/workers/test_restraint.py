"""What is held back, values in and values out."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.delivery import Status
from db.rules import Listed
from outbox.envelope import Priority
from outbox.restraints import ChannelRules, nearest, seconds
from tests.workers.test_decide import INAPP, MAIL, job
from workers import digest
from workers.decide import Rules, in_time, overrides, retry, unready
from workers.job import Job
from workers.restraint import cap_of, duration, held, may_be_held, over_cap, preferences

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
NIGHT = {"from": "22:00", "to": "07:00"}


def ruled(rules: dict[str, Any], base: Rules = MAIL) -> Rules:
    return replace(base, channel=ChannelRules.model_validate(rules))


def told(fields: dict[str, Any], **facts: Any) -> Job:
    one = job(**facts)
    return replace(one, entry=replace(one.entry, envelope=one.entry.envelope.model_copy(update=fields)))


def wishes(*pairs: tuple[str, dict[str, Any]]) -> str:
    return json.dumps(pairs)


def test_nobody_who_wishes_nothing_is_held() -> None:
    assert not may_be_held(job(), MAIL)
    assert not may_be_held(
        told({"priority": Priority.URGENT, "digest_key": "k"}), ruled({"cap": {"count": 1, "per": 1}})
    )


@pytest.mark.parametrize(
    ("pairs", "own", "channel", "zone", "expected"),
    [
        ([], None, None, None, None),
        ([], None, NIGHT, None, "22:00 UTC"),
        ([], NIGHT, None, "Europe/Berlin", "22:00 Berlin"),
        ([("*", {"quiet_hours": None})], NIGHT, NIGHT, None, None),
        ([("order.*", {"quiet_hours": None}), ("*", {"quiet_hours": NIGHT})], None, None, None, None),
        (
            [("order.*", {"cap": {"count": 1, "per": 1}}), ("*", {"quiet_hours": NIGHT})],
            None,
            None,
            None,
            "22:00 UTC",
        ),
        ([("*", {"quiet_hours": NIGHT})], None, None, "Mars/Olympus", "22:00 UTC"),
    ],
)
def test_the_nearest_quiet_hours_count(
    pairs: list[tuple[str, dict[str, Any]]],
    own: dict[str, str] | None,
    channel: dict[str, str] | None,
    zone: str | None,
    expected: str | None,
) -> None:
    """At 21:30 UTC, which is 22:30 in Berlin, and at 22:30 UTC."""
    late = NOON.replace(hour=21 if expected == "22:00 Berlin" else 22, minute=30)
    one = job(
        constraints=wishes(*pairs) if pairs else None,
        quiet_hours=json.dumps(own) if own else None,
        time_zone=zone,
    )
    settled = held(one, ruled({"quiet_hours": channel}), late)
    assert (settled is not None) is (expected is not None)
    if settled:
        assert (settled.status, settled.attempts, settled.wait) == (Status.DEFERRED, 0, "quiet_hours")
        assert settled.until
        assert settled.until > late


def test_the_recipient_s_own_quiet_hours_leave_in_app_alone() -> None:
    late = NOON.replace(hour=23)
    assert held(job(quiet_hours=json.dumps(NIGHT)), INAPP, late) is None
    assert held(job(constraints=wishes(("*", {"quiet_hours": NIGHT}))), INAPP, late) is not None


@pytest.mark.parametrize(
    ("fields", "rules", "base", "expected"),
    [
        ({}, {}, MAIL, None),
        ({"digest_key": "k"}, {}, MAIL, ("key:k", 600)),
        ({"digest_key": "k", "digest_window": 5}, {"digest": {"*": 60}}, MAIL, ("key:k", 5)),
        ({"digest_key": "k"}, {"digest": {"*": 60}}, MAIL, ("key:k", 60)),
        ({}, {"digest": {"*": 60, "a": 30}}, MAIL, ("rule:a", 30)),
        ({}, {"digest": {"b": 60}}, MAIL, None),
        ({"digest_key": "k"}, {}, INAPP, None),
        ({"digest_key": "k"}, {"digest": {"*": 60}}, INAPP, ("key:k", 60)),
    ],
)
def test_what_is_collected(
    fields: dict[str, Any], rules: dict[str, Any], base: Rules, expected: tuple[str, int] | None
) -> None:
    settled = held(told(fields), ruled(rules, base), NOON)
    found = settled and settled.until and (settled.digest_key, (settled.until - NOON).total_seconds())
    assert found == expected
    if settled:
        assert (settled.status, settled.attempts, settled.event) == (Status.DIGESTED, 0, "")
    assert held(told(fields, is_digest=True), ruled(rules, base), NOON) is None, (
        "a digest is not collected again"
    )


def test_collected_before_put_off() -> None:
    """In quiet hours, too: it is the digest that waits for their end."""
    one = told({"digest_key": "k"}, constraints=wishes(("*", {"quiet_hours": NIGHT})))
    settled = held(one, MAIL, NOON.replace(hour=23))
    assert settled
    assert settled.status is Status.DIGESTED


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], (9, "*")),
        ([("a.*", {"cap": {"count": 2, "per": "1 h"}}), ("*", {"cap": {"count": 3, "per": 1}})], (2, "a.*")),
        ([("a.*", {"quiet_hours": None}), ("*", {"cap": {"count": 3, "per": 1}})], (3, "*")),
        ([("a.*", {"cap": None})], None),
    ],
)
def test_the_nearest_cap_counts(
    pairs: list[tuple[str, dict[str, Any]]], expected: tuple[int, str] | None
) -> None:
    capped = cap_of(
        job(constraints=wishes(*pairs) if pairs else None), ruled({"cap": {"count": 9, "per": 60}})
    )
    assert (capped and (capped.cap.count, capped.scope)) == expected


@pytest.mark.parametrize(
    ("then", "facts", "status"),
    [
        ("defer", {}, Status.DEFERRED),
        ("digest", {}, Status.DIGESTED),
        ("digest", {"is_digest": True}, Status.DEFERRED),
    ],
)
def test_past_the_cap(then: str, facts: dict[str, Any], status: Status) -> None:
    one = job(**facts)
    capped = cap_of(one, ruled({"cap": {"count": 5, "per": "1 day", "then": then}}))
    assert capped
    settled = over_cap(one, capped, NOON)
    assert (settled.status, settled.until) == (status, NOON)
    assert (settled.reason or "").startswith("the cap of 5 in 1 day is reached; ")


def test_constraints_that_nobody_can_read_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    (kept,) = preferences(wishes(("a.*", {"cap": "much"}), ("*", {"quiet_hours": NIGHT})))
    assert kept[0] == "*"
    assert "worker.constraints_refused" in capsys.readouterr().out


@given(
    st.integers(1, 20),
    st.floats(0, 0.999),
    st.integers(1, 10_000),
    st.integers(1, 100_000),
    st.integers(1, 20),
)
def test_no_attempt_is_planned_after_the_deadline(
    attempt: int, chance: float, deadline: int, age: int, allowed: int
) -> None:
    one = job(attempts=attempt, attempts_allowed=allowed)
    rules = replace(MAIL, deadline=deadline)
    now = one.entry.envelope.created_at + timedelta(seconds=age)
    again = retry(one, "smtp_4xx", "busy", rules.backoff.delay(attempt, chance))
    settled = in_time(one, again, rules, now)
    if settled.status is Status.RETRYING:
        assert attempt < allowed
        assert age + (settled.retry_in or 0) <= deadline
    else:
        assert (settled.status, settled.dead, settled.retry_in) == (Status.FAILED, True, None)
        assert attempt >= allowed or age + (again.retry_in or 0) > deadline


def test_a_retry_that_was_late_is_not_made_and_a_redrive_is() -> None:
    rules = replace(MAIL, deadline=60)
    late = datetime.now(UTC) + timedelta(seconds=61)
    settled = unready(job(prior_status="retrying", attempts=2), rules, late)
    assert settled
    assert (settled.status, settled.error_class, settled.attempts) == (Status.FAILED, "deadline", 1)
    assert unready(job(prior_status="pending", attempts=2), rules, late) is None
    assert unready(job(), rules, late) is None, "the first attempt is always made"


def test_an_unknown_end_stays_unknown_after_the_deadline() -> None:
    again = retry(job(), "unknown", "silence", 100)
    settled = in_time(job(), again, replace(MAIL, deadline=1), datetime.now(UTC))
    assert (settled.status, settled.dead) == (Status.UNKNOWN, True)


@pytest.mark.parametrize(
    ("priority", "patterns", "expected"),
    [("urgent", ["a"], True), ("normal", ["a"], False), ("urgent", ["b.*"], False), ("urgent", ["*"], True)],
)
def test_what_overrides_a_preference(priority: str, patterns: list[str], expected: bool) -> None:
    one = told({"priority": Priority(priority)})
    assert overrides(one, ruled({"urgent_overrides_preferences": patterns})) is expected


@pytest.mark.parametrize(
    ("patterns", "event_type", "expected"),
    [
        (["*", "order.*", "order.paid"], "order.paid", "order.paid"),
        (["*", "order.*"], "order.paid", "order.*"),
        (["*", "order.*"], "orders", "*"),
        (["o.*", "o.p"], "o.p", "o.p"),
        (["order.*"], "login", None),
    ],
)
def test_nearest(patterns: list[str], event_type: str, expected: str | None) -> None:
    assert nearest(patterns, event_type) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10 minutes", 600), ("1 day", 86_400), ("90s", 90), ("2h", 7200), (60, 60), ("1 week", 604_800)],
)
def test_durations(text: Any, expected: int) -> None:
    assert seconds(text) == expected
    assert seconds(duration(expected)) == expected


@pytest.mark.parametrize("text", ["soon", "1 month", "-5 s", "", "1.5 h", True])
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(ValueError, match="must be seconds"):
        seconds(text)


items = st.dictionaries(
    st.sampled_from(["title", "body", "n"]), st.text(max_size=400) | st.integers(), max_size=3
)


@given(st.lists(items, min_size=1, max_size=100), st.integers(0, 1000))
def test_what_a_digest_says_fits_into_a_payload(listed: list[dict[str, Any]], more: int) -> None:
    kept = []
    size = 0
    for item in listed:  # as the statement keeps them
        size += len(json.dumps(item, ensure_ascii=False).encode())
        if size <= digest.ITEMS_BYTES:
            kept.append(item)
    said = digest.payload(Listed(kept, listed[0], len(listed) + more), "order.paid")
    assert said["items"] == kept
    assert len(said["items"]) + said["more"] == said["count"] == len(listed) + more
    assert said["title"]
    assert len(json.dumps(said, ensure_ascii=False).encode()) <= 65_536


def test_a_digest_fits_at_its_worst() -> None:
    """Control characters take six bytes each in JSON, in the list and again in title and body."""
    item = {"title": "\x01" * digest.TITLE_CHARACTERS, "n": ""}
    item["n"] = "x" * (digest.ITEMS_BYTES // 20 - len(json.dumps(item)))
    said = digest.payload(Listed([item] * 20, item, 100), "order.paid")
    assert digest.ITEMS_BYTES - 20 < len(json.dumps(item)) * 20 <= digest.ITEMS_BYTES
    assert len(json.dumps(said, ensure_ascii=False).encode()) <= 65_536


def test_a_digest_of_one_reads_like_the_one() -> None:
    one = {"title": "Paid", "body": "Thanks"}
    said = digest.payload(Listed([one], one, 1), "order.paid")
    assert (said["title"], said["body"], said["items"]) == ("Paid", "Thanks", [one])


def test_a_digest_of_many_lists_them() -> None:
    listed = [{"title": "Paid", "body": "Thanks"}, {"body": "no title"}, {}]
    said = digest.payload(Listed(listed, listed[0], 5), "order.paid")
    assert said["title"] == "5 × Paid"
    assert said["body"].split("\n") == ["Paid – Thanks", "no title", "order.paid", "and 2 more"]
