"""Requests to addresses that somebody else has named: what is connected to is what was judged, and nothing else."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from outbox.egress import Egress
from workers.answer_body import BODY_BYTES
from workers.outcome import Permanent, Transient, Unknown
from workers.posting import Answer, Post, Poster

PEM = Path(__file__).parent / "localhost.pem"
OPEN = Egress.parse(["127.0.0.0/8"])


@dataclass
class Far:
    """A raw HTTP server that answers with these bytes, and remembers who came asking for what."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    requests: list[bytes] = field(default_factory=list)
    hang: bool = False
    server_names: list[str | None] = field(default_factory=list)
    port: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
            await (reader.read() if self.hang else finished(writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # a client that leaves early
        finally:
            self.closed.set()
            writer.transport.abort()


async def finished(writer: asyncio.StreamWriter) -> None:
    """Close in good order, so that what was written arrives."""
    writer.close()
    await writer.wait_closed()


@asynccontextmanager
async def listening(far: Far, tls: ssl.SSLContext | None = None) -> AsyncIterator[Far]:
    if tls is not None:
        tls.sni_callback = lambda _, name, __: far.server_names.append(name)
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0, ssl=tls)
    far.port = server.sockets[0].getsockname()[1]
    try:
        yield far
    finally:
        server.close()


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    async with listening(Far()) as far:
        yield far


class Dns:
    """A name server that gives another answer each time it is asked, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def poster(
    egress: Egress = OPEN, tls: ssl.SSLContext | None = None, dns: Dns | None = None
) -> AsyncIterator[Poster]:
    made = Poster(egress, 4, tls, dns) if dns else Poster(egress, 4, tls)
    try:
        yield made
    finally:
        await made.close()


def post(url: str) -> Post:
    return Post("POST", url, {"x-a": "b"}, b"{}")


async def test_the_request_names_the_host_and_leads_to_the_judged_address(far: Far) -> None:
    async with poster(dns=Dns(["127.0.0.1"])) as client:
        answer = await client.send(post(f"http://hooks.example.com:{far.port}/a/b?c=d"), 30)
    assert answer == Answer(200, {"content-length": "2"}, "hi")
    (request,) = far.requests
    assert request.startswith(b"POST /a/b?c=d HTTP/1.1\r\n")
    assert f"host: hooks.example.com:{far.port}\r\n".encode() in request


async def test_a_name_that_is_rebound_is_resolved_once_and_what_was_judged_is_used(far: Far) -> None:
    """First a public address, then one inside: between the look and the connect there is no second question."""
    dns = Dns(["198.41.0.4"], ["127.0.0.1"])
    egress = Egress()
    async with poster(egress, dns=dns) as client:
        first = await client.send(post("https://rebind.example/"), 0.3)
        assert dns.asked == 1
        second = await client.send(post("https://rebind.example/"), 30)
    assert not isinstance(first, Answer)
    assert isinstance(second, Permanent)
    assert second.error_class == "egress"
    assert dns.asked == 2
    assert far.requests == []


async def test_a_name_with_one_address_inside_is_refused_whole(far: Far) -> None:
    async with poster(Egress(), dns=Dns(["198.41.0.4", "127.0.0.1"])) as client:
        outcome = await client.send(post("https://mixed.example/"), 30)
    assert isinstance(outcome, Permanent)
    assert "127.0.0.1" not in outcome.reason


# How else a host can be spelled; none of these is an address by its looks alone.
SPELLINGS = [
    "127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.1", "017700000001",
    "0177.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
async def test_every_spelling_of_this_machine_is_refused(host: str) -> None:
    """By the system's own resolver."""
    async with poster(Egress()) as client:
        outcome = await client.send(post(f"https://{host}/"), 30)
    assert not isinstance(outcome, Answer | Unknown)
    if isinstance(outcome, Transient):  # a resolver may not take it at all
        assert "cannot be resolved" in outcome.reason
    else:
        assert outcome.error_class == "egress"


async def test_most_spellings_are_taken_by_the_resolver_here() -> None:
    """So that the test above tries what it says."""
    loop = asyncio.get_running_loop()
    for host in ("127.1", "0", "2130706433", "0x7f000001", "0177.0.0.1"):
        assert await loop.getaddrinfo(host, 443, type=socket.SOCK_STREAM)


@pytest.mark.parametrize(
    "url",
    ["http://1.1.1.1/", "https://1.1.1.1:22/", "https://user:pw@1.1.1.1/", "ftp://1.1.1.1/", "https:///"],
)
async def test_other_schemes_ports_and_logins_are_refused(url: str) -> None:
    async with poster(Egress()) as client:
        outcome = await client.send(post(url), 30)
    assert isinstance(outcome, Permanent)
    assert outcome.error_class == "egress"
    assert "pw" not in outcome.reason


async def test_a_redirect_is_an_answer_and_not_followed(far: Far) -> None:
    async with listening(Far()) as other:
        location = f"http://127.0.0.1:{other.port}/"
        far.answer = f"HTTP/1.1 307 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        async with poster() as client:
            answer = await client.send(post(f"http://127.0.0.1:{far.port}/"), 30)
        assert answer == Answer(307, {"location": location, "content-length": "0"})
        assert other.requests == []


async def test_a_proxy_in_the_environment_is_not_asked(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with poster() as client:
        assert isinstance(await client.send(post(f"http://127.0.0.1:{far.port}/"), 5), Answer)


async def test_tls_asks_for_the_certificate_of_the_name() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(PEM)
    trusting = ssl.create_default_context(cafile=str(PEM))
    async with listening(Far(), server) as far, poster(tls=trusting, dns=Dns(["127.0.0.1"])) as client:
        taken = await client.send(post(f"https://localhost:{far.port}/"), 30)
        other = await client.send(post(f"https://other.example:{far.port}/"), 30)
    assert isinstance(taken, Answer)
    assert far.server_names == ["localhost", "other.example"]
    assert isinstance(other, Transient)
    assert other.error_class == "tls"
    assert len(far.requests) == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(PEM)
    async with listening(Far(), server) as far, poster(dns=Dns(["127.0.0.1"])) as client:
        outcome = await client.send(post(f"https://localhost:{far.port}/"), 30)
    assert isinstance(outcome, Transient)
    assert outcome.error_class == "tls"


async def test_no_more_of_a_body_is_read_than_agreed(far: Far) -> None:
    far.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n" + b"x" * 1_000_000
    far.hang = True
    async with poster() as client:
        answer = await client.send(post(f"http://127.0.0.1:{far.port}/"), 30)
        await asyncio.wait_for(far.closed.wait(), 60)
    assert isinstance(answer, Answer)
    assert len(answer.text) == BODY_BYTES


async def test_a_body_that_never_ends_is_not_waited_for(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.answer_body.BODY_SECONDS", 1)
    far.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeginning"
    far.hang = True
    async with poster() as client:
        answer = await client.send(post(f"http://127.0.0.1:{far.port}/"), 30)
    assert answer == Answer(200, {"content-length": "100"}, "beginning")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "the request had left"),
        (b"no http at all\r\n\r\n", "what came was no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "what came was no HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3, "the request had left"),
    ],
    ids=["nothing", "no http", "headers without end", "only interim answers"],
)
async def test_what_is_no_answer_leaves_it_unknown(far: Far, answer: bytes, reason: str) -> None:
    far.answer = answer
    async with poster() as client:
        outcome = await client.send(post(f"http://127.0.0.1:{far.port}/"), 30)
    assert isinstance(outcome, Unknown)
    assert reason in outcome.reason


async def test_the_time_is_bound_as_a_whole(far: Far) -> None:
    far.answer, far.hang = b"HTTP/1.1 200 OK\r\nX: ", True
    async with poster() as client:
        outcome = await client.send(post(f"http://127.0.0.1:{far.port}/"), 2.0)
    assert outcome == Unknown("the request had left, and then: no answer within 2 s")


async def test_before_the_request_has_left_a_time_out_is_no_unknown() -> None:
    """A server that takes the connection and never says a word of TLS."""
    async with listening(Far(answer=b"", hang=True)) as far, poster() as client:
        outcome = await client.send(post(f"https://127.0.0.1:{far.port}/"), 1.0)
    assert outcome == Transient("timeout", "no answer within 1 s")


async def test_a_header_that_cannot_be_sent_is_not_told(far: Far) -> None:
    """It may hold a secret, whose line end came with it out of a file."""
    async with poster() as client:
        outcome = await client.send(
            Post("POST", f"http://127.0.0.1:{far.port}/", {"authorization": "Bearer s3cret\n"}, b"{}"), 5
        )
    assert outcome == Unknown("the request had left, and then: the request could not be written as HTTP")
