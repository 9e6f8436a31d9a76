"""Twilio by its real client library, against a double: each answer, and each way to get none."""

import asyncio
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from outbox.local.doubles.faults import Kind
from outbox.local.doubles.serving import running
from outbox.local.doubles.twilio import SID, TOKEN, TwilioDouble, problem
from outbox.local.ports import any_free
from outbox.twilio import ERRORS, Account
from workers.outcome import Delivered, Outcome, Permanent, RecipientGone, Throttled, Transient, Unknown
from workers.twilio import Text, Twilio, answered

PEM = Path(__file__).parent / "localhost.pem"
SECONDS = 30.0
SHORT_SECONDS = 2.0  # where no answer comes
TEXT = Text(UUID(int=7), "+15005550010", "Your code is 42", 1, "http://127.0.0.1:9/callback")


@pytest.fixture
async def double() -> AsyncIterator[TwilioDouble]:
    twilio = TwilioDouble(reports=())
    async with running(twilio.double):
        yield twilio
    await twilio.close()


@pytest.fixture
async def provider(double: TwilioDouble) -> AsyncIterator[Twilio]:
    made = to(double.double.url)
    yield made
    await made.close()


@pytest.fixture
async def impatient(double: TwilioDouble) -> AsyncIterator[Twilio]:
    made = to(double.double.url, seconds=SHORT_SECONDS)
    yield made
    await made.close()


def to(url: str, token: str = TOKEN, seconds: float = SECONDS) -> Twilio:
    return Twilio(Account("twilio", SID, token, "+15005550006", None, url), seconds)


def text(**changes: Any) -> Text:
    facts = {name: getattr(TEXT, name) for name in Text.__slots__}
    return Text(**facts | changes)


async def test_sent(double: TwilioDouble, provider: Twilio) -> None:
    outcome = await provider.send(text(valid_seconds=60))
    (received,) = double.double.box.messages
    assert outcome == Delivered(received.id, segments=1)
    assert received.details == {
        "To": "+15005550010",
        "From": "+15005550006",
        "Body": "Your code is 42",
        "StatusCallback": "http://127.0.0.1:9/callback",
        "ValidityPeriod": "60",
    }


async def test_by_a_messaging_service(double: TwilioDouble) -> None:
    provider = Twilio(Account("twilio", SID, TOKEN, None, "MG1", double.double.url), SECONDS)
    assert isinstance(await provider.send(TEXT), Delivered)
    await provider.close()
    assert double.double.box.messages[0].details["MessagingServiceSid"] == "MG1"
    assert "From" not in double.double.box.messages[0].details


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+15005550001", RecipientGone("400: 21211 the number is invalid")),
        ("+15005550002", Permanent("route", "400: 21612 the number cannot be reached from this sender")),
        ("+15005550003", Permanent("route", "403: 21408 the account has no permission for this region")),
        ("+15005550004", RecipientGone("unsubscribed: 400: 21610 the recipient has opted out (STOP)")),
        ("+15005550009", RecipientGone("400: 21614 the number is no mobile number")),
    ],
)
async def test_numbers_that_twilio_refuses(provider: Twilio, number: str, expected: Outcome) -> None:
    assert await provider.send(text(to=number)) == expected


async def test_a_body_that_is_too_long_for_twilio(provider: Twilio) -> None:
    outcome = await provider.send(text(body="x" * 1_601))
    assert outcome == Permanent("refused", "400: 21617 the body is longer than 1,600 characters")


async def test_a_wrong_token(double: TwilioDouble) -> None:
    provider = to(double.double.url, token="wrong")
    outcome = await provider.send(TEXT)
    await provider.close()
    assert isinstance(outcome, Transient)
    assert outcome.error_class == "auth"


@pytest.mark.parametrize("header", [{"Retry-After": "7"}, {"retry-after": "7"}])
async def test_throttled_says_for_how_long(
    double: TwilioDouble, provider: Twilio, header: dict[str, str]
) -> None:
    refused = bytes(problem(429, 20429, "Too Many Requests").body).decode()
    double.double.menu.order(Kind.ANSWER, status=429, headers=header, body=refused)
    assert await provider.send(TEXT) == Throttled("429: 20429 too many requests", 7)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (500, Transient("http_5xx", "500 without a code of Twilio's")),
        (503, Transient("http_5xx", "503 without a code of Twilio's")),
        (504, Unknown("a gateway before Twilio gave up waiting for its answer (504)")),
        (429, Throttled("429 without a code of Twilio's")),
        (301, Transient("config_refused", "301 without a code of Twilio's")),
        (404, Transient("config_refused", "404 without a code of Twilio's")),
        (403, Transient("auth", "403 without a code of Twilio's")),
        (400, Permanent("refused", "400 without a code of Twilio's")),
    ],
)
async def test_answers_that_are_not_twilios(
    double: TwilioDouble, provider: Twilio, status: int, expected: Outcome
) -> None:
    double.double.menu.order(Kind.ANSWER, status=status, body="<html>a proxy</html>")
    assert await provider.send(TEXT) == expected
    assert isinstance(await provider.send(TEXT), Delivered)  # the connection is still good


@pytest.mark.parametrize(
    ("order", "word"),
    [
        ({"kind": Kind.HANG}, "TimeoutError"),
        ({"kind": Kind.HANG, "taken": True}, "TimeoutError"),
        ({"kind": Kind.RESET}, ""),
        ({"kind": Kind.RESET, "taken": True}, ""),
        ({"kind": Kind.MALFORMED}, "cannot be read: JSONDecodeError"),
        ({"kind": Kind.MALFORMED, "taken": True}, "cannot be read: JSONDecodeError"),
        ({"kind": Kind.ANSWER, "status": 201, "body": "[]"}, "cannot be read"),
        ({"kind": Kind.ANSWER, "status": 201, "body": "{}"}, "names no message"),
        ({"kind": Kind.GARBAGE}, ""),
    ],
    ids=str,
)
async def test_after_the_request_left_no_answer_is_unknown(
    double: TwilioDouble, impatient: Twilio, order: dict[str, Any], word: str
) -> None:
    double.double.menu.order(**order)
    outcome = await impatient.send(TEXT)
    assert isinstance(outcome, Unknown)
    assert word in outcome.reason


async def test_it_ends_in_its_time(double: TwilioDouble, impatient: Twilio) -> None:
    double.double.menu.order(Kind.HANG)
    began = time.monotonic()
    await impatient.send(TEXT)
    assert SHORT_SECONDS * 0.9 < time.monotonic() - began < 20, "by its own time, and no library's"


async def test_slow_is_no_failure(double: TwilioDouble, provider: Twilio) -> None:
    double.double.menu.order(Kind.SLOW, seconds=0.2)
    assert isinstance(await provider.send(TEXT), Delivered)


async def test_nobody_listens() -> None:
    provider = to(f"http://127.0.0.1:{any_free()}")
    outcome = await provider.send(TEXT)
    await provider.close()
    assert isinstance(outcome, Transient)
    assert outcome.error_class == "connection"


async def test_no_tls_where_it_is_asked_for(double: TwilioDouble) -> None:
    provider = to(double.double.url.replace("http://", "https://"))
    outcome = await provider.send(TEXT)
    await provider.close()
    assert isinstance(outcome, Transient)
    assert outcome.error_class in {"tls", "connection"}


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_certificate_must_be_trusted(trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system, or by the file that SSL_CERT_FILE names."""
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    provider = to(f"https://localhost:{server.sockets[0].getsockname()[1]}")
    outcome = await provider.send(TEXT)
    await provider.close()
    server.close()
    assert (isinstance(outcome, Transient) and outcome.error_class == "tls") is not trusted
    assert "+1500" not in repr(outcome)


async def test_silence_before_the_request_could_leave() -> None:
    """A port whose backlog is full takes no connection: the handshake hangs."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        provider = to(f"http://127.0.0.1:{port}", seconds=SHORT_SECONDS)
        outcome = await provider.send(TEXT)
        await provider.close()
        for filler in fillers:
            filler.close()
    assert outcome == Transient("timeout", "the far side did not take the request in time")


async def test_asked_for_what_it_has(double: TwilioDouble, provider: Twilio) -> None:
    since = datetime.now(UTC)
    double.double.menu.order(Kind.RESET, taken=True)
    assert isinstance(await provider.send(TEXT), Unknown)
    (received,) = double.double.box.messages
    await provider.send(text(body="another text"))
    await provider.send(text(to="+15005550011"))
    assert await provider.ask(TEXT, since) == [received.id]
    assert await provider.ask(TEXT, since + timedelta(hours=1)) == []
    double.messages[received.id]["status"] = "failed"
    assert await provider.ask(TEXT, since) == []


@pytest.mark.parametrize(
    "order", [{"kind": Kind.ANSWER, "status": 503}, {"kind": Kind.RESET}, {"kind": Kind.MALFORMED}]
)
async def test_asked_in_vain(double: TwilioDouble, provider: Twilio, order: dict[str, Any]) -> None:
    double.double.menu.order(**order)
    answer = await provider.ask(TEXT, datetime.now(UTC))
    assert isinstance(answer, Transient)
    assert answer.error_class == "ask"


@pytest.mark.parametrize("code", ERRORS)
def test_no_reason_holds_a_number(code: int) -> None:
    outcome = answered(400, code, {})
    assert not isinstance(outcome, Delivered)
    assert "+1" not in getattr(outcome, "reason", "")


async def test_nothing_is_logged(provider: Twilio, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    await provider.send(TEXT)
    assert not [record for record in caplog.records if "+15005550010" in record.getMessage()]


async def test_the_double_shows_what_it_took(double: TwilioDouble, provider: Twilio) -> None:
    await provider.send(TEXT)
    async with httpx.AsyncClient(trust_env=False) as client:
        shown = (await client.get(f"{double.double.url}/_double/received")).json()
    assert (shown["total"], shown["messages"][0]["text"]) == (1, "Your code is 42")


def test_no_worker_sends_with_aiohttp() -> None:
    """What it gives up ends in an abort of uvloop at times (libuv#5130), and the process with it."""
    words = "import sys, workers.main; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
