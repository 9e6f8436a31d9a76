"""SendGrid over HTTP, against its double: one request for many, and each fault with its outcome."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.headerregistry import Address
from pathlib import Path
from uuid import uuid4

import pytest

from outbox.errors import SettingsError
from outbox.local.doubles.faults import Kind
from outbox.local.doubles.sendgrid import KEY, SendGridDouble
from outbox.local.doubles.serving import running
from outbox.rendering.renderers import Rendered
from workers.message import Letter, unsubscribe_headers
from workers.outcome import Delivered, Outcome, Permanent, Throttled, Transient, Unknown, sends
from workers.sendgrid import REGIONS, Account, SendGrid, account

SHOP = Address("Shop", addr_spec="no-reply@shop.example")
LINK = unsubscribe_headers("https://notify.example.com/v1/unsubscribe/x")


def letter(to: str = "ada@example.com", text: str = "Hello\n") -> Letter:
    return Letter(uuid4(), "email", SHOP, to, Rendered("Hi", text, ""), LINK, kind="t")


@asynccontextmanager
async def provider(budget: float = 5, batch: int = 100) -> AsyncIterator[tuple[SendGridDouble, SendGrid]]:
    double = SendGridDouble()
    async with running(double.double):
        made = SendGrid(Account(double.double.url, KEY, batch), budget)
        try:
            yield double, made
        finally:
            await made.close()


async def send(made: SendGrid, *letters: Letter) -> list[Outcome]:
    return list(await asyncio.gather(*(made.send(each) for each in letters)))


async def test_one_letter() -> None:
    async with provider() as (double, made):
        sent = letter()
        [outcome] = await send(made, sent)
        assert isinstance(outcome, Delivered)
        [mail] = double.double.box.messages
        assert mail.id.startswith(outcome.message_id or "none")
        assert (mail.to, mail.title, mail.text) == ("ada@example.com", "Hi", "Hello\n")
        assert mail.details["from"] == {"email": "no-reply@shop.example", "name": "Shop"}
        assert mail.details["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert mail.details["headers"]["Message-ID"] == sent.message_id
        assert mail.details["custom_args"] == {
            "notification_id": str(sent.notification_id),
            "channel": "email",
        }


async def test_many_letters_in_one_request_each_with_its_own_text() -> None:
    async with provider() as (double, made):
        letters = [letter(f"u{at}@example.com", f"Dear {at},\nwelcome.\n") for at in range(60)]
        outcomes = await send(made, *letters)
        assert all(isinstance(outcome, Delivered) for outcome in outcomes)
        assert double.requests == 1
        arrived = {mail.to: mail.text for mail in double.double.box.messages}
        assert arrived == {each.recipient: each.rendered.text for each in letters}


async def test_a_batch_is_as_large_as_configured() -> None:
    async with provider(batch=10) as (double, made):
        await send(made, *(letter(f"u{at}@example.com") for at in range(25)))
        assert double.requests == 3


async def test_the_letter_to_blame_fails_and_the_others_go() -> None:
    async with provider() as (double, made):
        # Good enough for us, not for SendGrid.
        letters = [
            letter("a@example.com"),
            letter("b@localhost"),
            letter("c@example.com"),
            letter("d@intranet"),
        ]
        first, second, third, fourth = await send(made, *letters)
        assert isinstance(first, Delivered)
        assert isinstance(third, Delivered)
        assert [sends(outcome) for outcome in (first, second, third, fourth)] == [2, 1, 2, 1]
        for bad in (second, fourth):
            assert bad == Permanent("bad_address", "SendGrid 400: Does not contain a valid address.")
        assert [mail.to for mail in double.double.box.messages] == ["a@example.com", "c@example.com"]


async def test_a_refusal_that_names_nobody_is_found_by_halving() -> None:
    async with provider() as (double, made):
        refusal = {"errors": [{"message": "odd", "field": "content", "help": None}]}
        double.double.menu.order(Kind.ANSWER, status=400, body=refusal, times=2)  # 4 letters, then 2
        outcomes = await send(made, *(letter(f"u{at}@example.com") for at in range(4)))
        assert all(isinstance(outcome, Delivered) for outcome in outcomes)
        assert [sends(outcome) for outcome in outcomes] == [3, 3, 2, 2]
        assert [mail.to for mail in double.double.box.messages] == [f"u{at}@example.com" for at in range(4)]
        double.double.menu.order(Kind.ANSWER, status=400, body=refusal, times=None)
        assert (
            await send(made, letter("x@example.com"), letter("y@example.com"))
            == [Permanent("refused", "SendGrid 400: odd")] * 2
        )


async def test_too_large_a_batch_is_parted() -> None:
    async with provider() as (double, made):
        double.double.menu.order(Kind.ANSWER, status=413)
        outcomes = await send(made, *(letter(f"u{at}@example.com") for at in range(4)))
        assert [type(outcome) for outcome in outcomes] == [Delivered] * 4
        assert double.requests == 2


ANSWERS: list[tuple[int, dict[str, str], Outcome]] = [
    (429, {"Retry-After": "7"}, Throttled("SendGrid 429: no reason given", 7)),
    (500, {}, Transient("http_5xx", "SendGrid 500: no reason given")),
    (503, {"Retry-After": "9"}, Transient("http_5xx", "SendGrid 503: no reason given", 9)),
    (413, {}, Permanent("too_large", "SendGrid 413: no reason given")),
    (307, {"Location": "http://127.0.0.1:1/"}, Transient("protocol", "SendGrid 307: no reason given")),
]


@pytest.mark.parametrize(("status", "headers", "outcome"), ANSWERS)
async def test_answers(status: int, headers: dict[str, str], outcome: Outcome) -> None:
    async with provider() as (double, made):
        double.double.menu.order(Kind.ANSWER, status=status, headers=headers)
        answered = await send(made, letter())
        assert (answered, sends(answered[0])) == ([outcome], 1)
        assert isinstance((await send(made, letter()))[0], Delivered)


async def test_a_wrong_key_is_told_as_such() -> None:
    async with provider() as (double, _):
        made = SendGrid(Account(double.double.url, "wrong"), 5)
        outcomes = await send(made, letter("a@example.com"), letter("b@example.com"))
        await made.close()
        assert {outcome.error_class for outcome in outcomes if isinstance(outcome, Transient)} == {"auth"}
        assert "authorization grant is invalid" in getattr(outcomes[0], "reason", "")
        assert double.double.box.total == 0


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (Kind.REFUSED, Transient),  # reset at once: nothing left
        (Kind.SILENT, Unknown),
        (Kind.GARBAGE, Unknown),
        (Kind.HANG, Unknown),
        (Kind.RESET, Unknown),
    ],
)
async def test_no_answer(kind: Kind, outcome: type[Outcome]) -> None:
    async with provider(budget=3) as (double, made):
        double.double.menu.order(kind)
        letters = [letter("a@example.com"), letter("b@example.com")]
        got = await send(made, *letters)
        # A reset may be noticed before the request has left, or after: then nobody knows.
        allowed = (Transient, Unknown) if kind is Kind.REFUSED else (outcome,)
        assert all(isinstance(each, allowed) for each in got), got
        assert isinstance((await send(made, letter()))[0], Delivered)


@pytest.mark.parametrize("kind", [Kind.HANG, Kind.RESET])
async def test_taken_and_no_answer_is_unknown(kind: Kind) -> None:
    async with provider(budget=3) as (double, made):
        double.double.menu.order(kind, taken=True)
        got = await send(made, letter("a@example.com"), letter("b@example.com"))
        assert all(isinstance(each, Unknown) for each in got)
        assert double.double.box.total == 2


async def test_slow_is_waited_for_and_malformed_is_an_acceptance() -> None:
    async with provider() as (double, made):
        double.double.menu.order(Kind.SLOW, seconds=0.3)
        assert isinstance((await send(made, letter()))[0], Delivered)
        double.double.menu.order(Kind.MALFORMED)  # 200 with broken JSON: the body of a 2xx says nothing to us
        assert (await send(made, letter())) == [Delivered(None)]
        double.double.menu.order(Kind.ANSWER, status=400, body="<html>not JSON</html>")
        assert await send(made, letter()) == [Permanent("refused", "SendGrid 400: no reason given")]


async def test_nobody_there() -> None:
    made = SendGrid(Account("http://127.0.0.1:1", KEY), 30)
    [outcome] = await send(made, letter())
    await made.close()
    assert isinstance(outcome, Transient)
    assert outcome.error_class == "connection"


async def test_a_certificate_of_nobody_known() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).parent / "localhost.pem")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    made = SendGrid(Account(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", KEY), 30)
    [outcome] = await send(made, letter())
    await made.close()
    server.close()
    assert isinstance(outcome, Transient)
    assert outcome.error_class == "tls"


async def test_close_lets_what_is_on_its_way_arrive() -> None:
    async with provider() as (double, made):
        sending = asyncio.create_task(made.send(letter()))
        await asyncio.sleep(0)
        await made.close()
        assert isinstance(await sending, Delivered)
        assert double.double.box.total == 1


def test_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SG_KEY", "SG.secret")
    assert account({"key": "env:SG_KEY"}) == Account(REGIONS["global"], "SG.secret")
    assert account({"key": "env:SG_KEY", "region": "eu"}).url == "https://api.eu.sendgrid.com"
    assert account({"key": "env:SG_KEY", "url": "http://127.0.0.1:9/", "batch": 7}).batch == 7
    assert "secret" not in repr(account({"key": "env:SG_KEY"}))


@pytest.mark.parametrize(
    "part",
    [{}, {"key": 5}, {"key": "SG.plain"}, {"key": "env:NO_SUCH"}]
    + [
        {"key": "env:SG_KEY"} | odd
        for odd in ({"region": "mars"}, {"url": "ftp://x"}, {"batch": 0}, {"batch": True})
    ]
    + [{"key": "env:SG_BROKEN"}],
)
def test_a_bad_account_is_told(monkeypatch: pytest.MonkeyPatch, part: dict[str, object]) -> None:
    monkeypatch.setenv("SG_KEY", "SG.secret")
    monkeypatch.setenv("SG_BROKEN", "SG.secret\r\nX: y")
    with pytest.raises(SettingsError) as caught:
        account(part)
    assert "SG.secret" not in str(caught.value)
