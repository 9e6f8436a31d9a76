"""Mail servers: URLs, kept connections, TLS, and each answer classed by what is to be done about it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiosmtplib import SMTPConnectResponseError

from outbox.errors import SettingsError
from outbox.rendering.renderers import Rendered
from tests.workers.conftest import eventually
from tests.workers.mail import DROP, HANG, MailServer, mail_server
from workers.message import Letter, sender
from workers.outcome import (
    Delivered,
    Outcome,
    Permanent,
    RecipientGone,
    Throttled,
    Transient,
    Unknown,
    sends,
)
from workers.smtp import CONNECTIONS, Mailer, parse
from workers.smtp_answers import classify
from workers.smtp_transfer import Transfer

LETTER = Letter(
    UUID(int=1), "email", sender("noreply@example.com"), "ada@example.com", Rendered("Hi", "Hello\n", "")
)


CERTIFICATE = Path(__file__).parent / "localhost.pem"


@asynccontextmanager
async def mailer(
    url: str = "", budget: float = 30, **options: Any
) -> AsyncIterator[tuple[MailServer, Mailer]]:
    async with mail_server(**options) as server:
        made = Mailer(parse(url.format(port=server.port) or f"smtp://127.0.0.1:{server.port}"), budget)
        try:
            yield server, made
        finally:
            await made.close()


@pytest.mark.parametrize(
    ("url", "tls", "starttls", "port"),
    [
        ("smtp://mail.example.com", False, True, 587),
        ("smtp://mail.example.com:2525?tls=required", False, True, 2525),
        ("smtp://mail.example.com?tls=none", False, False, 25),
        ("smtp://127.0.0.1:1025", False, False, 1025),
        ("smtp://localhost", False, False, 25),
        ("smtp://[::1]:25?tls=starttls", False, True, 25),
        ("smtps://mail.example.com", True, False, 465),
    ],
)
def test_tls_is_required_unless_the_server_is_here(url: str, tls: bool, starttls: bool, port: int) -> None:
    server = parse(url)
    assert (server.tls, server.starttls, server.port) == (tls, starttls, port)


def test_login_from_the_url() -> None:
    server = parse("smtp://user%40example.com:p%3Ass@mail.example.com")
    assert (server.username, server.password) == ("user@example.com", "p:ss")


@pytest.mark.parametrize(
    "url", ["http://x", "smtp://", "smtp://secret:secret@x:99999", "smtp://u:secret@x?tls=maybe"]
)
def test_a_bad_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(url)
    assert "secret" not in str(caught.value)


async def test_delivered_over_one_kept_connection() -> None:
    async with mailer() as (server, made):
        for _ in range(3):
            assert await made.send(LETTER) == Delivered(LETTER.message_id)
        assert (len(server.mails), server.connections) == (3, 1)


async def test_letters_at_the_same_time_have_connections_of_their_own() -> None:
    async with mailer() as (server, made):
        outcomes = await asyncio.gather(*(made.send(LETTER) for _ in range(4)))
        assert all(isinstance(outcome, Delivered) for outcome in outcomes)
        assert server.connections == 4


async def test_no_more_connections_than_a_server_grants() -> None:
    async with mailer() as (server, made):
        outcomes = await asyncio.gather(*(made.send(LETTER) for _ in range(3 * CONNECTIONS)))
        assert all(isinstance(outcome, Delivered) for outcome in outcomes)
        assert len(server.mails) == 3 * CONNECTIONS
        assert server.connections == CONNECTIONS


async def test_a_connection_in_use_is_closed_after_its_letter() -> None:
    """The config has changed meanwhile, and this server gets no more mail."""
    async with mailer() as (server, made):
        server.gate.clear()
        sending = asyncio.create_task(made.send(LETTER))

        async def connected() -> bool:
            return bool(server.sessions)

        await eventually(connected, "it is being sent")
        await made.close()
        server.gate.set()
        assert isinstance(await sending, Delivered)

        async def gone() -> bool:
            return server.sessions[0].transport is None or server.sessions[0].transport.is_closing()

        await eventually(gone, "the connection is closed")


@pytest.mark.parametrize(
    ("rcpt", "data", "expected"),
    [
        ("451 4.3.0 try later", "", Transient("smtp_4xx", "451 4.3.0 try later")),
        ("421 4.7.0 too many", "", Throttled("421 4.7.0 too many")),
        ("550 5.1.1 <ada@example.com> unknown", "", RecipientGone("550 5.1.1 <***@***> unknown")),
        ("551 5.1.6 moved", "", RecipientGone("551 5.1.6 moved")),
        ("554 5.7.1 spam", "", Permanent("smtp_5xx", "554 5.7.1 spam")),
        ("530 5.7.0 log in first", "", Transient("auth", "530 5.7.0 log in first")),
        ("", "451 4.3.0 try later", Transient("smtp_4xx", "451 4.3.0 try later")),
        ("", "550 5.7.1 content refused", Permanent("smtp_5xx", "550 5.7.1 content refused")),
    ],
)
async def test_answers(rcpt: str, data: str, expected: Outcome) -> None:
    async with mailer() as (server, made):
        server.rcpt, server.data = [rcpt] if rcpt else [], [data] if data else []
        assert await made.send(LETTER) == expected
        assert server.mails == []
        assert isinstance(await made.send(LETTER), Delivered), "the next one goes through"


async def test_a_refusal_does_not_cost_the_connection() -> None:
    async with mailer() as (server, made):
        server.rcpt = ["550 no such user"]
        await made.send(LETTER)
        await made.send(LETTER)
        assert server.connections == 1


@pytest.mark.parametrize("answer", [DROP, HANG])
async def test_silence_after_the_content_means_unknown(answer: str) -> None:
    async with mailer(budget=3) as (server, made):
        server.after_data = [answer]
        assert isinstance(await made.send(LETTER), Unknown)
        assert len(server.mails) == 1, "it had arrived"


@pytest.mark.parametrize(("answer", "error_class"), [(DROP, "connection"), (HANG, "timeout")])
async def test_silence_before_the_content_is_transient(answer: str, error_class: str) -> None:
    async with mailer(budget=3) as (server, made):
        server.rcpt = [answer]
        outcome = await made.send(LETTER)
        assert isinstance(outcome, Transient)
        assert outcome.error_class == error_class
        assert server.mails == []


async def test_nobody_there() -> None:
    async with mail_server() as server:
        port = server.port
    outcome = await Mailer(parse(f"smtp://127.0.0.1:{port}"), 30).send(LETTER)
    assert isinstance(outcome, Transient)
    assert outcome.error_class == "connection"


async def test_a_server_that_came_back_is_found_again() -> None:
    async with mailer() as (server, made):
        await made.send(LETTER)
        port = server.port
        for session in server.sessions:
            if isinstance(session.transport, asyncio.WriteTransport):
                session.transport.abort()
        assert isinstance(await made.send(LETTER), Delivered | Transient)
        assert isinstance(await made.send(LETTER), Delivered)
        assert server.port == port


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_tls_is_verified(scheme: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    options: dict[str, Any] = {"tls": context} if scheme == "smtps" else {"tls_context": context}
    url = scheme + "://localhost:{port}?tls=starttls"
    async with mailer(url + f"&ca={CERTIFICATE}", **options) as (server, made):
        assert isinstance(await made.send(LETTER), Delivered)
        stranger = Mailer(parse(url.format(port=server.port)), 5)
        outcome = await stranger.send(LETTER)
        assert isinstance(outcome, Transient)
        assert len(server.mails) == 1


async def test_no_plain_text_where_tls_is_required() -> None:
    async with mailer("smtp://localhost:{port}?tls=required") as (server, made):
        assert isinstance(await made.send(LETTER), Transient)
        assert server.mails == []


@pytest.mark.parametrize(("password", "kind"), [("right", Delivered), ("wrong", Transient)])
async def test_login(password: str, kind: type[Outcome]) -> None:
    url = f"smtp://ada:{password}@127.0.0.1" + ":{port}"
    async with mailer(url, login=True) as (server, made):
        outcome = await made.send(LETTER)
        assert isinstance(outcome, kind)
        assert set(server.logins) == {"ada"}
        if isinstance(outcome, Transient):
            assert outcome.error_class == "auth"


def test_a_server_that_is_busy_at_the_door_was_sent_nothing() -> None:
    outcome = classify(SMTPConnectResponseError(421, "4.3.2 busy"), Transfer(LETTER))
    assert isinstance(outcome, Throttled)
    assert sends(replace(outcome, provider="smtp")) == 0
