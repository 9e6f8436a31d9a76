"""One outcome for many devices."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

import pytest

from db.delivery import Tried
from db.push import DeviceStatus, Platform
from tests.workers.pushing import a_device
from workers.outcome import (
    Deferred,
    Delivered,
    Outcome,
    Permanent,
    RecipientGone,
    Throttled,
    Transient,
    Unknown,
    sends,
)
from workers.push_result import NO_DEVICE, OnDevice, row, whole

OK = Delivered("m-1")
BUSY, SLOW_DOWN = Transient("fcm_5xx", "503 busy", 9.0), Throttled("429 quota", 60.0)
OPEN = Deferred("circuit_open", "ill", 5.0)
LOST, BAD, GONE = Unknown("no answer"), Permanent("fcm_4xx", "400 odd"), RecipientGone("410 Unregistered")


def on(*outcomes: Outcome) -> Sequence[OnDevice]:
    return [OnDevice(a_device(f"t{i}"), "fcm", outcome) for i, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([OK], Delivered("m-1", "fcm")),
        ([GONE, OK, BAD], Delivered("m-1", "fcm")),
        ([GONE], RecipientGone("410 Unregistered", "fcm")),
        ([GONE, GONE], RecipientGone("2 of 2 devices, one of them: 410 Unregistered", "fcm")),
        ([GONE, BAD], Permanent("fcm_4xx", "2 of 2 devices, one of them: 400 odd", "fcm")),
        ([BUSY], Transient("fcm_5xx", "503 busy", 9.0, "fcm")),
        ([BUSY, OK], Transient("fcm_5xx", "1 of 2 devices, one of them: 503 busy", 9.0, "fcm", reached=True)),
        ([BUSY, GONE], Transient("fcm_5xx", "1 of 2 devices, one of them: 503 busy", 9.0, "fcm")),
        ([BUSY, SLOW_DOWN], Transient("throttled", "2 of 2 devices, one of them: 429 quota", 60.0, "fcm")),
        ([OPEN], Deferred("circuit_open", "ill", 5.0, provider="fcm")),
        ([OPEN, OK], Transient("circuit_open", "1 of 2 devices, one of them: ill", 5.0, "fcm", reached=True)),
        ([OPEN, BUSY], Transient("circuit_open", "2 of 2 devices, one of them: ill", 9.0, "fcm")),
        ([LOST], Unknown("no answer", "fcm")),
        ([LOST, OK], Unknown("1 of 2 devices, one of them: no answer", "fcm", reached=True)),
        ([LOST, BUSY], Transient("fcm_5xx", "2 of 2 devices, one of them: 503 busy", 9.0, "fcm")),
    ],
)
def test_one_for_all(outcomes: list[Outcome], expected: Outcome) -> None:
    assert whole(on(*outcomes), reached=False, hold=False) == expected


def test_where_a_person_shall_look_silence_weighs_most() -> None:
    assert isinstance(whole(on(LOST, SLOW_DOWN, BUSY), reached=False, hold=True), Unknown)


def test_what_an_earlier_attempt_reached_counts() -> None:
    assert whole(on(GONE), reached=True, hold=False) == Delivered()
    assert whole([], reached=True, hold=False) == Delivered()
    waiting = whole(on(BUSY), reached=True, hold=False)
    assert isinstance(waiting, Transient)
    assert waiting.reached


@pytest.mark.parametrize(
    ("outcomes", "number"),
    [
        ([OK, OK, GONE], 3),
        ([OK, LOST, Transient("connection", "refused")], 2),
        ([Delivered("m-1", sends=2), Permanent("too_large", "5000 bytes", sends=0)], 2),
        ([], 0),
    ],
)
def test_each_request_to_each_device_counts(outcomes: list[Outcome], number: int) -> None:
    assert sends(whole(on(*outcomes), reached=True, hold=False)) == number


def test_a_probe_in_vain_is_on_the_timeline_and_costs_no_attempt() -> None:
    probe = Tried("fcm", "fcm_5xx", "503 busy", 1)
    outcome = whole(on(OPEN, replace(OPEN, tried=(probe,))), reached=True, hold=False)
    assert isinstance(outcome, Deferred)
    assert (outcome.tried, sends(outcome), outcome.reached) == ((probe,), 1, True)


def test_nobody_to_reach() -> None:
    assert whole([], reached=False, hold=False) == Permanent("no_contact", NO_DEVICE)


def test_both_providers_are_named() -> None:
    apns = OnDevice(a_device("t", Platform.APNS), "apns", OK)
    outcome = whole([*on(OK), apns], reached=False, hold=False)
    assert outcome.provider == "apns, fcm"  # type: ignore[union-attr]  # a Delivered


@pytest.mark.parametrize(
    ("outcome", "status", "error_class", "reason"),
    [
        (OK, DeviceStatus.DELIVERED, None, None),
        (BUSY, DeviceStatus.RETRYING, "fcm_5xx", "503 busy"),
        (SLOW_DOWN, DeviceStatus.RETRYING, "throttled", "429 quota"),
        (BAD, DeviceStatus.FAILED, "fcm_4xx", "400 odd"),
        (GONE, DeviceStatus.GONE, "recipient_gone", "410 Unregistered"),
        (LOST, DeviceStatus.UNKNOWN, "unknown", "no answer"),
    ],
)
def test_what_is_written_of_each(
    outcome: Outcome, status: DeviceStatus, error_class: str | None, reason: str | None
) -> None:
    (one,), key = on(outcome), uuid4()
    written = row(one, key, 2)
    assert (written.notification_id, written.device_id, written.attempt) == (key, one.device.id, 2)
    assert (written.status, written.error_class, written.reason) == (status, error_class, reason)
    assert written.message_id == ("m-1" if outcome is OK else None)
