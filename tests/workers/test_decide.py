"""The decisions, values in and values out."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from db.delivery import Claim, Status, Tried
from outbox.envelope import Envelope
from workers.decide import PATIENCE_SECONDS, Fate, Rules, fate, settlement, verdict
from workers.entries import Entry
from workers.job import Job
from workers.outcome import (
    Deferred,
    Delivered,
    LeaseShort,
    Outcome,
    Permanent,
    RecipientGone,
    Throttled,
    Transient,
    Unknown,
)
from workers.retry import Backoff

ID = UUID(int=7)
CLAIM = Claim(
    notification_id=ID,
    known=True,
    prior_status=None,
    prior_attempts=None,
    attempts=1,
    attempts_allowed=8,
    taken_over=False,
    canceled=False,
    expired=False,
    enabled=True,
    version=1,
    on_unknown="resend",
    wanted=True,
    contact="ada@example.com",
    locale=None,
    time_zone=None,
    suppressed=None,
    template="t",
)
MAIL = Rules(Backoff(2, 3600), outward=True, needs_contact=True)
PUSH = Rules(Backoff(2, 3600), outward=True, needs_contact=False)
INAPP = Rules(Backoff(2, 3600), outward=False, needs_contact=False)


def job(*, age: float = 0, **facts: Any) -> Job:
    created = datetime.now(UTC) - timedelta(seconds=age)
    envelope = Envelope(notification_id=ID, event_type="a", user_id="ada", created_at=created)
    entry = Entry(b"1-1", envelope, 0)
    return Job(entry, CLAIM._replace(**facts), UUID(int=1), time.monotonic() + 60)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, Fate.OURS),
        ({"attempts": None, "known": False}, Fate.DROP),
        ({"attempts": None, "prior_status": "delivered", "prior_attempts": 1}, Fate.REPEAT),
        ({"attempts": None, "prior_status": "failed", "prior_attempts": 8}, Fate.DROP),
        ({"attempts": None, "prior_status": "canceled", "prior_attempts": 0}, Fate.DROP),
        ({"attempts": None, "prior_status": "unknown", "prior_attempts": 1}, Fate.DROP),
        ({"attempts": None, "prior_status": "retrying", "prior_attempts": 2}, Fate.DROP),
        ({"attempts": None, "prior_status": "pending", "prior_attempts": 8}, Fate.DROP),
        ({"attempts": None, "prior_status": "deferred", "prior_attempts": 1}, Fate.DROP),
        ({"attempts": None, "prior_status": "deferred", "prior_attempts": 0}, Fate.HELD),
        ({"attempts": None, "prior_status": "digested", "prior_attempts": 0}, Fate.DROP),
        ({"attempts": None, "prior_status": "sending", "prior_attempts": 1}, Fate.HELD),
        # Claimed by another in this very moment: what was seen is what was before.
        ({"attempts": None, "prior_status": "retrying", "prior_attempts": 0}, Fate.HELD),
        ({"attempts": None, "prior_status": None}, Fate.HELD),
    ],
)
def test_fate(facts: dict[str, Any], expected: Fate) -> None:
    assert fate(CLAIM._replace(**facts), attempt=0) is expected


@pytest.mark.parametrize(
    ("facts", "status", "word"),
    [
        ({"canceled": True}, Status.CANCELED, "canceled"),
        ({"expired": True}, Status.EXPIRED, "expires_at"),
        ({"enabled": False}, Status.SUPPRESSED, "channel email is switched off"),
        ({"wanted": False}, Status.SUPPRESSED, "switched off by the recipient"),
        ({"seen": True}, Status.SUPPRESSED, "read in-app"),
        ({"suppressed": "bounced"}, Status.SUPPRESSED, "suppression list: bounced"),
        ({"contact": None}, Status.FAILED, "no contact"),
    ],
)
def test_what_must_not_be_sent(facts: dict[str, Any], status: Status, word: str) -> None:
    settled = verdict(job(**facts), "email", MAIL)
    assert settled is not None
    assert settled.status is status
    assert word in (settled.reason or "")
    assert settled.attempts == 0, "no attempt was made"
    assert settled.dead is (status is Status.FAILED)
    assert settled.retry_in is None


def test_what_may_be_sent() -> None:
    assert verdict(job(), "email", MAIL) is None
    assert verdict(job(contact=None), "inapp", INAPP) is None


@pytest.mark.parametrize(("on_unknown", "held"), [("hold", True), ("resend", False)])
def test_a_lost_attempt_is_held_or_sent_again(on_unknown: str, held: bool) -> None:
    settled = verdict(job(taken_over=True, attempts=2, on_unknown=on_unknown), "email", MAIL)
    if held:
        assert settled is not None
        assert (settled.status, settled.dead, settled.attempts) == (Status.UNKNOWN, True, 1)
    else:
        assert settled is None


def test_a_lost_attempt_inside_postgres_left_nothing() -> None:
    assert verdict(job(taken_over=True, attempts=2, on_unknown="hold"), "inapp", INAPP) is None


def test_an_entry_that_kills_every_worker_ends() -> None:
    settled = verdict(job(taken_over=True, attempts=9), "inapp", INAPP)
    assert settled is not None
    assert (settled.status, settled.error_class, settled.dead) == (Status.FAILED, "worker_lost", True)
    outward = verdict(job(taken_over=True, attempts=9), "email", MAIL)
    assert outward is not None
    assert outward.status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("outcome", "status", "error_class", "dead"),
    [
        (Delivered("<m>"), Status.DELIVERED, None, False),
        (Transient("smtp_4xx", "busy"), Status.RETRYING, "smtp_4xx", False),
        (Throttled("slow down"), Status.RETRYING, "throttled", False),
        (Permanent("smtp_5xx", "no"), Status.FAILED, "smtp_5xx", True),
        (RecipientGone("gone"), Status.FAILED, "recipient_gone", True),
        (Unknown("silence"), Status.RETRYING, "unknown", False),
    ],
)
def test_outcomes(outcome: Outcome, status: Status, error_class: str | None, dead: bool) -> None:
    settled = settlement(job(), outcome, MAIL, 0.5)
    assert settled is not None
    assert (settled.status, settled.error_class, settled.dead) == (status, error_class, dead)
    assert settled.retry_in == (2 if status is Status.RETRYING else None)
    assert settled.message_id == ("<m>" if status is Status.DELIVERED else None)


@pytest.mark.parametrize("outcome", [Transient("smtp_4xx", "busy"), Throttled("slow down")])
def test_after_the_last_attempt_comes_the_dead_letter(outcome: Outcome) -> None:
    settled = settlement(job(attempts=8), outcome, MAIL, 0.5)
    assert settled is not None
    assert (settled.status, settled.dead, settled.retry_in) == (Status.FAILED, True, None)


@pytest.mark.parametrize("facts", [{"on_unknown": "hold"}, {"attempts": 8}])
def test_unknown_is_held_by_policy_or_at_the_end(facts: dict[str, Any]) -> None:
    settled = settlement(job(**facts), Unknown("silence"), MAIL, 0.5)
    assert settled is not None
    assert (settled.status, settled.dead, settled.retry_in) == (Status.UNKNOWN, True, None)


def test_a_short_lease_settles_nothing() -> None:
    assert settlement(job(), LeaseShort(), MAIL, 0.5) is None


def test_what_nobody_was_asked_for_costs_no_attempt() -> None:
    settled = settlement(job(attempts=8), Deferred("circuit_open", "all are down", 5), MAIL, 0.0)
    assert settled is not None
    assert (settled.status, settled.event, settled.attempts) == (Status.DEFERRED, "deferred", 7)
    assert (settled.retry_in, settled.dead, settled.sends) == (5, False, 0)


def test_the_older_it_is_the_longer_it_is_deferred() -> None:
    waits = []
    for age in (0, 80, 8_000, 80_000):
        settled = settlement(
            job(age=age, prior_status="deferred"), Deferred("circuit_open", "all are down", 5), MAIL, 0.0
        )
        assert settled is not None
        waits.append(settled.retry_in)
    assert waits == pytest.approx([5, 10, 1_000, 3_600], rel=0.01)


def test_a_deferral_without_an_end_ends_in_the_dead_letters() -> None:
    facts: dict[str, Any] = {"age": PATIENCE_SECONDS + 1, "prior_status": "retrying"}
    settled = settlement(job(**facts), Deferred("circuit_open", "all are down", 5), MAIL, 0.0)
    assert settled is not None
    assert (settled.event, settled.attempts) == ("retrying", 1)
    settled = settlement(job(**facts, attempts=8), Deferred("circuit_open", "all are down", 5), MAIL, 0.0)
    assert settled is not None
    assert (settled.status, settled.error_class, settled.dead) == (Status.FAILED, "circuit_open", True)


@pytest.mark.parametrize("prior", [None, "pending"])
def test_what_nobody_has_put_off_yet_is_not_old(prior: str | None) -> None:
    """A dead letter that is sent again, a digest of a week, an escalation after two days."""
    facts: dict[str, Any] = {"age": 30 * PATIENCE_SECONDS, "prior_status": prior}
    settled = settlement(job(**facts), Deferred("circuit_open", "all are down", 5), MAIL, 0.0)
    assert settled is not None
    assert (settled.event, settled.attempts, settled.retry_in) == ("deferred", 0, 5)


def test_the_timeline_tells_who_was_tried_before_and_what_left() -> None:
    before = (Tried("a", "http_5xx", "503", 1), Tried("b", "connection", "refused", 0))
    settled = settlement(job(), Delivered("m1", "c", before), MAIL, 0.5)
    assert settled is not None
    assert json.loads(settled.detail()) == {
        "provider": "c",
        "provider_message_id": "m1",
        "tried": [
            {"provider": "a", "error_class": "http_5xx", "reason": "503", "sends": 1},
            {"provider": "b", "error_class": "connection", "reason": "refused", "sends": 0},
        ],
        "sends": 2,
    }


@pytest.mark.parametrize(("attempts", "counted"), [(1, 0), (8, 7)])
def test_what_waits_for_a_known_moment_counts_as_no_attempt(attempts: int, counted: int) -> None:
    outcome = Deferred("waits_its_turn", "others stand before it", 30.0, exact=True)
    settled = settlement(job(attempts=attempts, age=2 * PATIENCE_SECONDS), outcome, MAIL, 0.5)
    assert settled is not None
    assert (settled.status, settled.event, settled.attempts) == (Status.DEFERRED, "deferred", counted)
    assert (settled.error_class, settled.retry_in, settled.dead) == ("waits_its_turn", 30.0, False)


@pytest.mark.parametrize(
    "outcome",
    [
        Transient("apns_5xx", "busy", reached=True),
        Throttled("slow down", reached=True),
        Unknown("silence", reached=True),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_what_one_device_has_is_delivered_once_there_is_no_further_attempt(outcome: Outcome) -> None:
    waiting = settlement(job(), outcome, PUSH, 0.5)
    assert waiting is not None
    assert (waiting.status, waiting.dead) == (Status.RETRYING, False)
    settled = settlement(job(attempts=8), outcome, PUSH, 0.5)
    assert settled is not None
    assert (settled.status, settled.dead, settled.retry_in) == (Status.DELIVERED, False, None)
    assert settled.error_class is None
    assert settled.reason == waiting.reason


def test_silence_of_a_second_device_is_nothing_for_a_person_to_look_at() -> None:
    settled = settlement(job(on_unknown="hold"), Unknown("silence", reached=True), PUSH, 0.5)
    assert settled is not None
    assert (settled.status, settled.dead) == (Status.DELIVERED, False)


def test_a_channel_that_finds_its_recipients_needs_no_address() -> None:
    assert verdict(job(contact=None), "push", PUSH) is None


def test_what_nobody_could_tell_of_to_the_end_is_unknown() -> None:
    """It may have arrived at the attempt before: to call it failed would be more than is known."""
    asked = Transient("ask", "no provider told in time whether it has the message")
    settled = settlement(job(attempts=8), asked, MAIL, 0.5)
    assert settled is not None
    assert (settled.status, settled.error_class, settled.dead) == (Status.UNKNOWN, "unknown", True)
