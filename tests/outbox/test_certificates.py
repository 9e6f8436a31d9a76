"""When a certificate ends, from servers that show one, at once or only when asked, and from some that do not."""

import asyncio
from pathlib import Path
from time import time

import pytest

from outbox.certificates import SSL_REQUEST, Endpoint, endpoint, ends_at
from outbox.local.doubles.http2 import LIFETIME, Certificate
from tests.outbox.certificates import serving, showing, trusted


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate.kept(tmp_path)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://me:p%40ss@db.example:6000/x", Endpoint("db.example", 6000, asks=True)),
        ("postgres://db/x", Endpoint("db", 5432, asks=True)),
        ("postgresql:///x?host=/run/postgresql", None),
        ("rediss://:secret@cache/0", Endpoint("cache", 6379)),
        ("rediss+cluster://:secret@one:7000,two:7001", Endpoint("one", 7000)),
        ("redis://cache", None),
        ("https://api.example.com/base", Endpoint("api.example.com", 443)),
        ("http://api.example.com", None),
    ],
)
def test_where_a_certificate_may_be_seen(url: str, where: Endpoint | None) -> None:
    assert endpoint(url) == where


async def test_of_a_server_with_tls(certificate: Certificate) -> None:
    async with showing(certificate) as port:
        ends = await ends_at(Endpoint("127.0.0.1", port), 10)
    assert ends == pytest.approx(time() + LIFETIME.total_seconds(), abs=3600)


async def test_of_a_postgres_that_is_asked_first(certificate: Certificate) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == SSL_REQUEST
        writer.write(b"S")
        await writer.start_tls(trusted(certificate))

    async with serving(talk) as port:
        ends = await ends_at(Endpoint("127.0.0.1", port, asks=True), 10)
    assert ends == pytest.approx(time() + LIFETIME.total_seconds(), abs=3600)


@pytest.mark.parametrize("answer", [b"N", b"E", b""], ids=["no", "error", "closed"])
async def test_a_postgres_without_tls_shows_none(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(answer)
        writer.close()

    async with serving(talk) as port:
        assert await ends_at(Endpoint("127.0.0.1", port, asks=True), 10) is None


async def test_who_says_nothing_is_not_waited_for() -> None:
    held = asyncio.Event()

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        writer.close()

    async with serving(talk) as port:
        for asks in (True, False):
            with pytest.raises(TimeoutError):
                await ends_at(Endpoint("127.0.0.1", port, asks=asks), 0.05)
        held.set()


async def test_what_is_no_tls_is_an_error_and_nothing_else() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with serving(talk) as port:
        with pytest.raises(OSError, match=r"(?i)ssl|closed|reset"):
            await ends_at(Endpoint("127.0.0.1", port), 10)
