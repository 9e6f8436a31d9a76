"""FCM against its double: what is sent, one connection for many, and each answer classed."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from outbox.envelope import Priority
from outbox.errors import SettingsError
from outbox.local.doubles.faults import Kind
from outbox.local.doubles.fcm import FcmDouble
from tests.workers.pushing import BUDGET_SECONDS, Fire, a_device, fire, parcel
from workers.fcm import Account, Fcm
from workers.google_token import credentials
from workers.http2 import Origin
from workers.outcome import (
    Delivered,
    Outcome,
    Permanent,
    RecipientGone,
    Throttled,
    Transient,
    Unknown,
    error_class,
    requests,
)


@pytest.fixture
async def google(tmp_path: Path) -> AsyncIterator[Fire]:
    async with fire(tmp_path) as made:
        yield made


async def test_what_a_device_gets(google: Fire) -> None:
    outcome = await google.provider.send(
        parcel("phone", priority=Priority.URGENT, queue="score", collapse="score", badge=4)
    )
    [taken] = google.server.double.box.messages
    assert outcome == Delivered(taken.id.rpartition("/")[2])
    assert (taken.to, taken.title, taken.text) == ("phone", "Paid", "Thank you")
    message = taken.details
    assert message["data"] == {"order": "7"}
    assert message["android"] == {
        "priority": "HIGH",
        "ttl": "3600s",
        "collapse_key": "score",
        "notification": {"tag": "score", "notification_count": 4},
    }
    assert message["webpush"]["headers"] == {"TTL": "3600", "Urgency": "high"}
    assert message["apns"]["payload"] == {"aps": {"badge": 4, "sound": "default"}}
    headers = message["apns"]["headers"]
    assert (headers["apns-priority"], headers["apns-collapse-id"]) == ("10", "score")
    expires = datetime.fromtimestamp(int(headers["apns-expiration"]), UTC)
    assert timedelta(minutes=59) < expires - datetime.now(UTC) <= timedelta(hours=1)


async def test_many_share_one_connection_and_one_access_token(google: Fire) -> None:
    outcomes = await asyncio.gather(*(google.send(f"phone-{i}") for i in range(100)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert google.server.double.box.total == 100
    assert google.server.tokens.given == 1
    # One for the access token, which google-auth fetches by a client of its own, and one for all that is sent.
    assert google.server.double.front.connections == 2


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("gone", RecipientGone("404 UNREGISTERED Requested entity was not found.")),
        (
            "invalid",
            RecipientGone(
                "400 INVALID_ARGUMENT The registration token is not a valid FCM registration token"
            ),
        ),
        ("odd", RecipientGone("400 INVALID_ARGUMENT Invalid value at 'message.token' (TYPE_STRING)")),
        (
            "quota",
            Throttled("429 QUOTA_EXCEEDED Quota exceeded for quota metric.", 60.0),
        ),
        (
            "apple",
            Transient("third_party_auth", "401 THIRD_PARTY_AUTH_ERROR Auth error from APNS or Web Push"),
        ),
        ("broken", Transient("fcm_5xx", "500 INTERNAL Internal error encountered.")),
        ("busy", Transient("fcm_5xx", "503 UNAVAILABLE The service is currently unavailable.", 30.0)),
    ],
)
async def test_documented_refusals(google: Fire, token: str, expected: Outcome) -> None:
    assert await google.send(f"{token}-device") == expected
    assert google.server.double.box.total == 0
    assert isinstance(await google.send(), Delivered), "the next one goes through"


@pytest.mark.parametrize(
    ("description", "expected"),
    [("Device message rate exceeded", Transient), ("Quota exceeded for the project", Throttled)],
)
async def test_a_quota_of_one_device_is_not_the_providers(
    google: Fire, description: str, expected: type[Outcome]
) -> None:
    violation = {"subject": "message target", "description": description}
    failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [failure]}}
    google.server.double.menu.order(Kind.ANSWER, status=429, body=body, path="messages:send")
    outcome = await google.send()
    assert isinstance(outcome, expected)
    assert isinstance(outcome, Transient | Throttled)
    assert outcome.retry_after == 60
    assert error_class(outcome) == ("throttled_device" if expected is Transient else "throttled")


async def test_another_projects_token_is_dead_only_where_the_config_is_known_to_be_right(
    google: Fire,
) -> None:
    first = await google.send("stranger")
    assert isinstance(first, Permanent)
    assert first.error_class == "bad_token"
    await google.send()
    assert await google.send("stranger") == RecipientGone("403 SENDER_ID_MISMATCH SenderId mismatch")


INVALID = {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"}


def bad(*fields: str) -> dict[str, Any]:
    violations = [{"field": field, "description": "odd"} for field in fields]
    return {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}


@pytest.mark.parametrize(
    ("message", "details", "dead"),
    [
        ("odd", [INVALID, bad("message.token")], True),
        ("odd", [INVALID, bad("message.android.ttl")], False),
        ("odd", [INVALID, bad("message.token", "message.data")], False),
        ("Request contains an invalid argument.", [INVALID], False),
        ("The registration token is not a valid FCM registration token", [INVALID], True),
        ("The registration token is not a valid FCM registration token", [], False),
        ("odd", [None, "text", {"@type": 7}], False),
    ],
)
async def test_an_invalid_argument_kills_the_token_only_where_it_is_the_token(
    google: Fire, message: str, details: list[Any], dead: bool
) -> None:
    body = {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": details}}
    google.server.double.menu.order(Kind.ANSWER, status=400, body=body, path="messages:send")
    outcome = await google.send()
    assert isinstance(outcome, RecipientGone if dead else Permanent)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        (format_datetime(datetime.now(UTC) + timedelta(minutes=50), usegmt=True), 1000, 3000),
        ("soon", 60, 60),
    ],
    ids=["seconds", "date", "neither"],
)
async def test_retry_after(google: Fire, value: str, low: float, high: float) -> None:
    google.server.double.menu.order(
        Kind.ANSWER, status=429, headers={"Retry-After": value}, path="messages:send"
    )
    outcome = await google.send()
    assert isinstance(outcome, Throttled)
    assert outcome.retry_after is not None
    assert low <= outcome.retry_after <= high


async def test_a_revoked_access_token_is_fetched_anew_once(google: Fire) -> None:
    await google.send()
    google.server.tokens.revoke()
    outcomes = await asyncio.gather(*(google.send(f"phone-{i}") for i in range(20)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert google.server.tokens.given == 2, "one for all of them"
    refused = sum(requests(outcome) for outcome in outcomes) - len(outcomes)
    assert 1 <= refused <= 20, "those that were sent with the old token count, too"


async def test_an_account_that_is_not_let_in_is_not_asked_for_ever(google: Fire) -> None:
    refusal = {"error": {"code": 401, "message": "no", "status": "UNAUTHENTICATED"}}
    google.server.double.menu.order(Kind.ANSWER, status=401, body=refusal, times=None, path="messages:send")
    assert await google.send() == Transient("auth", "401 UNAUTHENTICATED no")
    assert google.server.double.menu.served == 2


async def test_no_access_token_is_asked_for_by_one_and_answered_to_all(google: Fire) -> None:
    refusal = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    google.server.double.menu.order(Kind.ANSWER, status=400, body=refusal, path="/token")
    outcomes = await asyncio.gather(*(google.send(f"phone-{i}") for i in range(20)))
    assert set(outcomes) == {
        Transient("auth", "Google gave no access token: invalid_grant: Invalid JWT Signature.")
    }
    assert google.server.double.menu.served == 1


async def test_an_access_token_that_does_not_come_in_time(google: Fire) -> None:
    google.server.double.menu.order(Kind.HANG, path="/token")
    outcome = await google.send(budget=2)
    assert outcome == Transient("timeout", "Google gave no access token in time")


@pytest.mark.parametrize(
    ("kind", "details", "expected"),
    [
        (Kind.HANG, {"taken": True}, Unknown),
        (Kind.HANG, {}, Unknown),
        (Kind.RESET, {"taken": True}, Unknown),
        (Kind.RESET, {}, Unknown),
        (Kind.SLOW, {"seconds": 0.2}, Delivered),
        (Kind.MALFORMED, {}, Delivered),
        (Kind.ANSWER, {"status": 503, "body": "<html>no JSON"}, Transient),
        (Kind.ANSWER, {"status": 400, "body": "<html>no JSON"}, Permanent),
        (Kind.ANSWER, {"status": 302, "headers": {"Location": "https://elsewhere"}}, Permanent),
        (Kind.ANSWER, {"status": 503, "body": "x" * 1_000_000}, Transient),
    ],
)
async def test_faults_once_the_request_has_left(
    google: Fire, kind: Kind, details: dict[str, Any], expected: type[Outcome]
) -> None:
    google.server.double.menu.order(kind, path="messages:send", **details)
    assert isinstance(await google.send(budget=2 if kind is Kind.HANG else BUDGET_SECONDS), expected)
    assert isinstance(await google.send(), Delivered), "the next one goes through"


@pytest.mark.parametrize(
    ("kind", "error_class"),
    [(Kind.REFUSED, "connection"), (Kind.SILENT, "timeout"), (Kind.GARBAGE, "tls")],
)
async def test_faults_before_the_request_has_left(google: Fire, kind: Kind, error_class: str) -> None:
    await google.let_in()
    google.server.double.menu.order(kind)
    outcome = await google.send(budget=2 if kind is Kind.SILENT else BUDGET_SECONDS)
    assert isinstance(outcome, Transient)
    assert outcome.error_class == error_class
    assert google.server.double.box.total == 0
    assert isinstance(await google.send(), Delivered), "the next one goes through"


@pytest.mark.parametrize(("place", "error_class"), [("nobody", "connection"), ("stranger", "tls")])
async def test_nobody_there_and_a_stranger_there(google: Fire, place: str, error_class: str) -> None:
    """A stranger: somebody whose certificate is not to be trusted."""
    url = "https://127.0.0.1:1" if place == "nobody" else google.server.double.url
    elsewhere = Fcm(Account("p", await google.let_in(), Origin(url, direct=True)))
    outcome = await elsewhere.send(parcel("phone"))
    await elsewhere.close()
    assert isinstance(outcome, Transient)
    assert outcome.error_class == error_class
    assert google.server.double.box.total == 0


async def test_a_long_body_is_shortened_to_what_fits(google: Fire) -> None:
    body = "é" * 5000
    assert isinstance(await google.provider.send(parcel("phone", body=body)), Delivered)
    [taken] = google.server.double.box.messages
    assert taken.text.endswith("é…")
    assert set(taken.text) == {"é", "…"}
    sent = {key: value for key, value in taken.details.items() if key != "token"}
    assert 4000 < len(json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()) <= 4096


async def test_what_is_too_large_even_so_says_why(google: Fire) -> None:
    outcome = await google.provider.send(parcel("phone", data={"blob": "x" * 5000}))
    assert isinstance(outcome, Permanent)
    assert outcome.error_class == "too_large"
    assert "payload.data and payload.url 5012" in outcome.reason
    assert google.server.double.box.total == 0


@pytest.mark.parametrize("secret", ["{}", "{no json", "/nowhere/key.json", '{"type": "service_account"}'])
def test_credentials_that_are_none_are_not_shown(secret: str) -> None:
    with pytest.raises(SettingsError) as caught:
        credentials(secret)
    assert secret not in str(caught.value)


def test_credentials_as_a_file(tmp_path: Path) -> None:
    server = FcmDouble()
    (tmp_path / "key.json").write_text(server.account.document("https://127.0.0.1:1"))
    assert credentials(str(tmp_path / "key.json")).project_id == "outbox-double"


def test_a_device_does_not_print_its_token() -> None:
    assert "secret" not in repr(a_device("secret"))
