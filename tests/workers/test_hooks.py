"""What an answer means, and how long to wait: values in, values out."""

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from outbox.errors import SettingsError
from workers.circuit import Sign
from workers.hooks import outcome_of, retry_after, sign_of
from workers.outcome import Delivered, Permanent, RecipientGone, Transient, Unknown
from workers.posting import Answer
from workers.signing import sign, signer

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_only_2xx_is_delivered(status: int) -> None:
    assert outcome_of(Answer(status, {}), NOW) == Delivered()


def test_410_is_the_end() -> None:
    assert isinstance(outcome_of(Answer(410, {}), NOW), RecipientGone)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Wed, 25 Nov 2026 12:01:30 GMT", 90.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0.0),
        ("999999999999999999999", 86_400.0),
        ("Wed, 25 Nov 2099 12:00:00 GMT", 86_400.0),
        ("-5", None),
        ("soon", None),
        ("٧", None),
        ("", None),
        ("Wed, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_in_either_form(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}, NOW) == seconds
    outcome = outcome_of(Answer(429, {"retry-after": text}), NOW)
    assert isinstance(outcome, Transient)
    assert (outcome.error_class, outcome.retry_after) == ("throttled", seconds)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Delivered(), Sign.WELL),
        (Transient("status_4xx", ""), Sign.WELL),
        (Transient("redirect", ""), Sign.WELL),
        (RecipientGone(""), Sign.WELL),
        (Transient("status_5xx", ""), Sign.ILL),
        (Transient("throttled", ""), Sign.ILL),
        (Transient("connection", ""), Sign.ILL),
        (Transient("tls", ""), Sign.ILL),
        (Transient("timeout", ""), Sign.ILL),
        (Unknown(""), Sign.ILL),
        (Permanent("egress", ""), Sign.NONE),
    ],
)
def test_what_it_says_about_the_endpoint(outcome: Delivered, expected: Sign) -> None:
    assert sign_of(outcome) is expected


def test_what_a_receiver_says_is_quoted_short_and_without_addresses() -> None:
    outcome = outcome_of(Answer(400, {}, "no user a@b.example\x00" + "x" * 1000), NOW)
    assert isinstance(outcome, Transient)
    assert outcome.reason.startswith("the endpoint answered 400 Bad Request: no user ***@*** x")
    assert len(outcome.reason) < 200


def test_signatures_are_those_of_the_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of Standard Webhooks' own libraries."""
    monkeypatch.setenv("S", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign(
        [signer("env:S")],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        '{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_without_secrets_nothing_is_signed() -> None:
    assert sorted(sign([], "id", NOW, "")) == ["webhook-id", "webhook-timestamp"]


@pytest.mark.parametrize(
    "secret",
    [
        "plain",
        "whsec_",
        "whsec_!!!",
        f"whsec_{base64.b64encode(b'x' * 23).decode()}",
        f"whsec_{base64.b64encode(b'x' * 65).decode()}",
        base64.b64encode(b"x" * 32).decode(),
    ],
)
def test_a_secret_that_is_none_is_refused_without_being_told(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("S", secret)
    with pytest.raises(SettingsError) as caught:
        signer("env:S")
    assert secret.removeprefix("whsec_") == "" or secret.removeprefix("whsec_") not in str(caught.value)


def test_the_shortest_and_the_longest_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (24, 64):
        monkeypatch.setenv("S", f"whsec_{base64.b64encode(b'x' * size).decode()}")
        assert isinstance(signer("env:S"), Webhook)
