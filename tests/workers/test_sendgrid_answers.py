"""SendGrid's answers: each classed once, by what is to be done about it."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.http_exchange import Answer
from workers.outcome import Delivered, Permanent, Throttled, Transient
from workers.sendgrid_answers import Halve, Named, judge


def answer(status: int, *errors: tuple[str | None, str], **headers: str) -> Answer:
    body = json.dumps({"errors": [{"field": field, "message": message} for field, message in errors]})
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body.encode())


def test_accepted() -> None:
    assert judge(Answer(202, {"x-message-id": "abc"}, b""), 3) == Delivered("abc")
    assert judge(Answer(202, {}, b"no id, and not even JSON"), 3) == Delivered(None)


@pytest.mark.parametrize(
    ("given_answer", "kind", "error_class", "wait"),
    [
        (answer(401, (None, "The provided authorization grant is invalid")), Transient, "auth", 900),
        (
            answer(403, ("from", "The from address does not match a verified Sender Identity")),
            Transient,
            "auth",
            900,
        ),
        (answer(404), Transient, "config", 900),
        (
            answer(400, ("from.email", "The from email does not contain a valid address.")),
            Transient,
            "config",
            900,
        ),
        (answer(500), Transient, "http_5xx", None),
        (answer(503, retry_after="7"), Transient, "http_5xx", 7),
        (answer(302), Transient, "protocol", None),
        (answer(400, ("content.0.value", "too odd")), Permanent, "refused", None),
        (answer(413), Permanent, "too_large", None),
        (Answer(400, {}, b"<html>"), Permanent, "refused", None),
    ],
)
def test_of_one_letter(given_answer: Answer, kind: type, error_class: str, wait: float | None) -> None:
    verdict = judge(given_answer, 1)
    assert isinstance(verdict, kind)
    assert getattr(verdict, "error_class", None) == error_class
    assert getattr(verdict, "retry_after", None) == wait


@pytest.mark.parametrize(
    "given_answer", [answer(413), answer(400, ("content", "odd")), Answer(400, {}, b"[]")]
)
def test_a_batch_that_may_hold_one_bad_letter_is_halved(given_answer: Answer) -> None:
    assert judge(given_answer, 2) == Halve()


def test_rate_limit_names_the_moment_it_ends() -> None:
    verdict = judge(answer(429, (None, "too many requests"), x_ratelimit_reset=str(int(time.time()) + 30)), 5)
    assert isinstance(verdict, Throttled)
    assert verdict.retry_after is not None
    assert 28 < verdict.retry_after <= 30
    assert judge(answer(429, retry_after="3", x_ratelimit_reset="9"), 1) == Throttled(
        "SendGrid 429: no reason given", 3
    )
    for odd in ("-5", "soon", "1e9", "9" * 40, ""):
        assert judge(answer(429, x_ratelimit_reset=odd), 1) == Throttled("SendGrid 429: no reason given")
    assert judge(answer(429, x_ratelimit_reset="99999999999"), 1) == Throttled(
        "SendGrid 429: no reason given", 3600
    )


def test_the_letters_to_blame_are_named() -> None:
    verdict = judge(
        answer(
            400,
            ("personalizations.1.to.0.email", "ada@example is no address"),
            ("personalizations.10.subject", "The subject is required."),
            ("personalizations.999.to", "beyond"),
        ),
        11,
    )
    assert verdict == Named(
        {
            1: Permanent("bad_address", "SendGrid 400: ***@*** is no address"),
            10: Permanent("refused", "SendGrid 400: The subject is required."),
        }
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["errors", "field", "message"]), inner),
)


@given(
    st.integers(100, 599), JSON | st.just("x"), st.dictionaries(st.sampled_from(["retry-after"]), st.text())
)
def test_any_answer_has_a_verdict(status: int, document: Any, headers: dict[str, str]) -> None:
    verdict = judge(Answer(status, headers, json.dumps(document).encode()), 4)
    assert isinstance(verdict, Delivered) == (200 <= status < 300)
