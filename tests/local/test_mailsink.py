"""The mail sink: what it accepted it keeps, what it shows cannot run, and tests can count on its numbers."""

import asyncio
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import httpx
import pytest

from outbox.local.mailsink import Place, main
from outbox.local.mailsink_store import Store
from outbox.local.ports import is_free
from outbox.service import Stop, wait


def mail(number: int, subject: str = "Order {} is paid") -> EmailMessage:
    made = EmailMessage()
    made["From"] = "Outbox <notifications@localhost>"
    made["To"] = "Alice <alice@example.com>"
    made["Subject"] = subject.format(number)
    made["Message-ID"] = f"<{number}@test>"
    made.set_content("Hello, and\n.a line that begins with a dot\n")
    made.add_alternative("<h1>Hello</h1><script>parent.document.title = 'ran'</script>", subtype="html")
    return made


def files(folder: Path, pattern: str = "*") -> list[Path]:
    return list(folder.glob(pattern))


def a_port() -> int:
    return next(port for port in range(12_000, 19_000, 7) if is_free(port))


class Sink:
    """A running mail sink, and its two doors."""

    def __init__(self, folder: Path, keep: int = 100) -> None:
        smtp = a_port()
        self.place = Place(
            folder, "127.0.0.1", smtp, next(p for p in range(smtp + 1, 20_000) if is_free(p)), keep
        )
        self.stop = Stop()
        self.web = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.place.web_port}", trust_env=False)

    async def __aenter__(self) -> "Sink":
        self.task = asyncio.create_task(main(self.place, self.stop))
        async with asyncio.timeout(60):
            while not await self.ready():
                await wait(self.stop.asked, 0.02)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.web.aclose()
        self.stop.ask()
        await self.task

    async def ready(self) -> bool:
        try:
            return (await self.web.get("/readyz")).is_success
        except httpx.TransportError:
            self.task.done() and self.task.result()
            return False

    async def take(self, *mails: EmailMessage, to: str = "alice@example.com") -> None:
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.place.smtp_port, use_tls=False, start_tls=False
        )
        async with client:
            for each in mails:
                await client.send_message(each, recipients=[to])

    async def get(self, path: str) -> dict[str, object]:
        answer = await self.web.get(path)
        assert answer.is_success, answer.text
        found: dict[str, object] = answer.json()
        return found

    async def subjects(self, path: str) -> list[str]:
        messages = (await self.get(path))["messages"]
        assert isinstance(messages, list)
        return [each["subject"] for each in messages]


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[Sink]:
    async with Sink(tmp_path) as running:
        yield running


async def test_a_mail_is_kept_as_it_came(sink: Sink) -> None:
    await sink.take(mail(1, "Ünïcode {}"), to="bob@example.com")
    messages = (await sink.get("/api/messages"))["messages"]
    assert isinstance(messages, list)
    (listed,) = messages
    assert (listed["subject"], listed["to"], listed["message_id"]) == (
        "Ünïcode 1",
        "bob@example.com",
        "<1@test>",
    )
    (file,) = files(sink.place.folder)
    assert file.read_bytes().startswith(
        b"Return-Path: <notifications@localhost>\r\nDelivered-To: bob@example.com\r\n"
    )
    shown = await sink.get(f"/api/messages/{listed['id']}")
    assert shown["text"] == "Hello, and\n.a line that begins with a dot\n"
    assert shown["has_html"] is True


async def test_repeats_are_counted_apart(sink: Sink) -> None:
    await sink.take(mail(1), mail(2), mail(1))
    counted = await sink.get("/api/messages/count")
    assert (counted["total"], counted["distinct"]) == (3, 2)


async def test_pages_in_both_directions_and_search(sink: Sink) -> None:
    await sink.take(*(mail(number) for number in range(1, 6)))
    assert await sink.subjects("/api/messages?limit=2") == ["Order 5 is paid", "Order 4 is paid"]
    newest = store_of(sink).newest(5)
    assert await sink.subjects(f"/api/messages?limit=2&before={newest[1].id}") == [
        "Order 3 is paid",
        "Order 2 is paid",
    ]
    assert await sink.subjects(f"/api/messages?limit=1&after={newest[2].id}") == ["Order 4 is paid"]
    assert await sink.subjects(f"/api/messages?after={newest[0].id}") == []
    assert await sink.subjects("/api/messages?query=order+3") == ["Order 3 is paid"]


def store_of(sink: Sink) -> Store:
    store = Store(sink.place.folder)
    store.read_folder()
    return store


async def test_what_was_accepted_is_there_after_a_restart(tmp_path: Path) -> None:
    async with Sink(tmp_path) as first:
        await first.take(mail(1), mail(2))
    (tmp_path / "99.tmp").write_bytes(b"half a ma")
    async with Sink(tmp_path) as second:
        assert await second.subjects("/api/messages") == ["Order 2 is paid", "Order 1 is paid"]
        await second.take(mail(3))
        assert (await second.subjects("/api/messages"))[0] == "Order 3 is paid"
    assert files(tmp_path, "*.tmp") == []


async def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    async with Sink(tmp_path, keep=2) as sink:
        await sink.take(*(mail(number) for number in range(1, 5)))
        counted = await sink.get("/api/messages/count")
    assert (counted["total"], counted["distinct"]) == (2, 2)
    assert len(files(tmp_path)) == 2


async def test_html_is_sealed_off(sink: Sink) -> None:
    await sink.take(mail(1))
    shown = await sink.web.get(f"/api/messages/{store_of(sink).mails[0].id}/html")
    policy = shown.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    page = await sink.web.get("/")
    assert "'unsafe" not in page.headers["content-security-policy"]


async def test_a_source_is_shown_as_text(sink: Sink) -> None:
    await sink.take(mail(1))
    shown = await sink.web.get(f"/api/messages/{store_of(sink).mails[0].id}/raw")
    assert shown.headers["content-type"].startswith("text/plain")
    assert "Message-ID: <1@test>" in shown.text


async def test_what_is_not_there(sink: Sink) -> None:
    for path in (
        "/api/messages/1",
        "/api/messages/1/html",
        "/api/messages/1/raw",
        "/api/messages/../../etc/passwd",
    ):
        assert (await sink.web.get(path)).status_code == 404
    assert (await sink.web.get("/api/messages?limit=many")).status_code == 400


async def test_no_foreign_site_reaches_it_by_a_name_of_its_own(sink: Sink) -> None:
    assert (await sink.web.get("/api/messages", headers={"Host": "evil.example"})).status_code == 400


async def test_cleared(sink: Sink) -> None:
    await sink.take(mail(1))
    assert (await sink.web.delete("/api/messages")).status_code == 204
    assert (await sink.get("/api/messages/count"))["total"] == 0
    assert files(sink.place.folder) == []


async def test_a_mail_that_cannot_be_written_is_not_accepted(sink: Sink) -> None:
    sink.place.folder.rename(sink.place.folder.with_name("away"))
    with pytest.raises(aiosmtplib.SMTPResponseException, match="could not be written"):
        await sink.take(mail(1))
