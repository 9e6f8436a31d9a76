"""SendGrid's events: whose they are, and what each leads to. Values in, values out."""

import json
import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.reports import Report
from db.suppressions import Suppression
from outbox.api.sendgrid_events import TOLERANCE_SECONDS, genuine, load_keys, read
from outbox.errors import SettingsError
from outbox.local.doubles.sendgrid_events import Signer

ID = UUID(int=9)
SIGNER = Signer()
KEYS = load_keys([Signer().verification_key, SIGNER.verification_key])
EVENT = {
    "event": "bounce",
    "email": "Ada@example.com",
    "timestamp": 1_700_000_000,
    "sg_event_id": "ZGVmYXVsdA",
    "notification_id": str(ID),
    "channel": "email",
    "type": "bounce",
    "status": "5.1.1",
    "bounce_classification": "Invalid Address",
    "reason": "550 5.1.1 <ada@example.com>: no such user",
}


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_what_sendgrid_signed_is_genuine() -> None:
    headers, body = SIGNER.request([EVENT])
    assert genuine(KEYS, lower(headers), body, time.time())
    assert not genuine(KEYS[:1], lower(headers), body, time.time())
    assert not genuine(KEYS, lower(headers), body.rstrip(), time.time())  # the CRLF at the end is signed
    assert not genuine(
        KEYS, lower(headers) | {"x-twilio-email-event-webhook-timestamp": "1700000000"}, body, 1.7e9
    )


@pytest.mark.parametrize("age", [TOLERANCE_SECONDS + 2, -TOLERANCE_SECONDS - 2])
def test_old_and_future_requests_are_refused(age: float) -> None:
    headers, body = SIGNER.request([EVENT], at=time.time() - age)
    assert not genuine(KEYS, lower(headers), body, time.time())


@given(st.text(max_size=60), st.text(max_size=120), st.binary(max_size=40))
def test_hostile_headers_are_refused(timestamp: str, signature: str, body: bytes) -> None:
    headers = {
        "x-twilio-email-event-webhook-timestamp": timestamp,
        "x-twilio-email-event-webhook-signature": signature,
    }
    assert not genuine(KEYS, headers, body, time.time())
    now = headers | {"x-twilio-email-event-webhook-timestamp": str(int(time.time()))}
    assert not genuine(KEYS, now, body, time.time())


@pytest.mark.parametrize("key", ["x", "!", "MFkwEwYHKoZIzj0CAQYI", ""])
def test_a_key_that_is_none_is_told(key: str) -> None:
    with pytest.raises(SettingsError, match="OUTBOX_SENDGRID_WEBHOOK_KEYS"):
        load_keys([key])


def test_a_hard_bounce() -> None:
    [event] = read(json.dumps([EVENT]).encode()) or []
    assert event.report == Report(
        "ZGVmYXVsdA",
        ID,
        "email",
        "bounced",
        {
            "provider": "sendgrid",
            "type": "bounce",
            "classification": "Invalid Address",
            "status": "5.1.1",
            "happened_at": 1_700_000_000,
        },
    )
    assert event.suppression == Suppression("email", "Ada@example.com", "hard bounce")


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({"type": "blocked"}, "bounced", None),
        ({"event": "deferred"}, "delayed", None),
        ({"event": "delivered"}, "arrived", None),
        ({"event": "dropped", "reason": "Bounced Address"}, "dropped", "hard bounce"),
        ({"event": "dropped", "reason": "Invalid"}, "dropped", "hard bounce"),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, "dropped", "spam report"),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, "dropped", "unsubscribed"),
        ({"event": "dropped", "reason": "Recipient List over Package Quota"}, "dropped", None),
        ({"event": "spamreport"}, "complained", "spam report"),
        ({"event": "unsubscribe"}, "unsubscribed", "unsubscribed"),
    ],
)
def test_each_event(changes: dict[str, Any], name: str, reason: str | None) -> None:
    [event] = read(json.dumps([EVENT | changes]).encode()) or []
    assert event.report.event == name
    assert (event.suppression.reason if event.suppression else None) == reason
    assert "example.com" not in json.dumps(event.report.detail)


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "open"},
        {"event": "processed"},
        {"event": ["bounce"]},
        {"notification_id": "not one"},
        {"notification_id": None},
        {"channel": "Email'--"},
        {"sg_event_id": "a\u0000b"},
        {"sg_event_id": "x" * 201},
        {"sg_event_id": ""},
    ],
)
def test_what_is_not_ours_is_left_out(changes: dict[str, Any]) -> None:
    assert read(json.dumps([EVENT | changes, 5, None, "x", []]).encode()) == []


@pytest.mark.parametrize("address", ["nobody", "a@b@c", "a b@c", "a@b\u0000", "\ud800@b", ""])
def test_an_odd_address_suppresses_nobody(address: str) -> None:
    [event] = read(json.dumps([EVENT | {"email": address}]).encode()) or []
    assert event.suppression is None


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 100_000, b"\xff", b"null"])
def test_no_list_of_events(body: bytes) -> None:
    assert read(body) is None


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
ANYTHING = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)


@given(st.dictionaries(st.sampled_from(sorted(EVENT)), ANYTHING))
def test_hostile_events_never_raise(changes: dict[str, Any]) -> None:
    events = read(json.dumps([EVENT | changes]).encode())
    assert events is not None
    for event in events:
        json.dumps(event.report.detail).encode()
