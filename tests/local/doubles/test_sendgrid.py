"""SendGrid's double: takes what the API takes, refuses what it refuses, and names the field."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from outbox.local.doubles.sendgrid import KEY, SendGridDouble
from outbox.local.doubles.serving import running

TO = [{"email": "ada@example.com"}]
MAIL: dict[str, Any] = {
    "from": {"email": "shop@example.com"},
    "subject": "Hi",
    "personalizations": [{"to": TO}],
    "content": [{"type": "text/plain", "value": "Hello"}],
}


@pytest.fixture
async def double() -> AsyncIterator[SendGridDouble]:
    made = SendGridDouble()
    async with running(made.double):
        yield made


@pytest.fixture
async def client(double: SendGridDouble) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=double.double.url, headers=headers, trust_env=False) as client:
        yield client


async def test_a_mail_is_taken(double: SendGridDouble, client: httpx.AsyncClient) -> None:
    answer = await client.post("/v3/mail/send", json=MAIL)
    assert (answer.status_code, answer.content) == (202, b"")
    [mail] = double.double.box.messages
    assert mail.id == f"{answer.headers['x-message-id']}.0"
    assert (mail.to, mail.title, mail.text) == ("ada@example.com", "Hi", "Hello")


async def test_substitutions_are_made(double: SendGridDouble, client: httpx.AsyncClient) -> None:
    content = [{"type": "text/plain", "value": "Dear -name-"}, {"type": "text/html", "value": "<p>-name-"}]
    parts = [{"to": TO, "subject": "For -name-", "substitutions": {"-name-": "Ada"}}]
    await client.post("/v3/mail/send", json=MAIL | {"content": content, "personalizations": parts})
    [mail] = double.double.box.messages
    assert (mail.title, mail.text, mail.details["html"]) == ("For Ada", "Dear Ada", "<p>Ada")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": [{"to": TO}] * 1001}, "personalizations"),
        ({"personalizations": [{"to": TO}, {"to": TO}]}, "personalizations"),
        ({"personalizations": [{"to": TO}, {"to": [{"email": "nobody"}]}]}, "personalizations.1.to.0.email"),
        ({"personalizations": [{"to": []}]}, "personalizations.0.to"),
        ({"personalizations": [{"to": TO, "headers": {"To": "x"}}]}, "personalizations.0.headers.To"),
        (
            {"personalizations": [{"to": TO, "substitutions": {"-x-": "y" * 10_000}}]},
            "personalizations.0.substitutions",
        ),
        ({"subject": ""}, "personalizations.0.subject"),
        ({"from": {"email": "nobody"}}, "from.email"),
        ({"content": []}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        ({"content": [{"type": kind, "value": "x"} for kind in ("text/html", "text/plain")]}, "content"),
    ],
)
async def test_a_mail_is_refused(
    double: SendGridDouble, client: httpx.AsyncClient, changes: dict[str, Any], field: str
) -> None:
    answer = await client.post("/v3/mail/send", json=MAIL | changes)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field
    assert double.double.box.total == 0


async def test_no_key_no_mail_and_nonsense(double: SendGridDouble, client: httpx.AsyncClient) -> None:
    assert (await client.post("/v3/mail/send", json=MAIL, headers={"Authorization": "x"})).status_code == 401
    assert (await client.post("/v3/mail/send", content=b"{")).status_code == 400
    assert (await client.post("/v3/mail/send", content=b" " * (30 * 1024 * 1024 + 1))).status_code == 413
    assert double.requests == 0
