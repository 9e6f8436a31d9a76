"""The connections to a far side: what may have been taken when one ends, and how many requests share one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from outbox.local.doubles.http2 import Certificate
from tests.workers.h2server import Act, H2Server, answer, cut, go_away, h2_server, hang, refuse, reset
from workers.failover import sign
from workers.http2 import Answer, Origin, Progress, Request
from workers.lines import LEAST, MOST, Lines, Trust
from workers.outcome import Transient, Unknown

ASK = Request("/x", {}, b"{}")


@asynccontextmanager
async def lines(folder: Path) -> AsyncIterator[tuple[H2Server, Lines]]:
    certificate = Certificate.kept(folder)
    async with h2_server(certificate) as server:
        client = Lines(Origin(server.url, str(certificate.chain), direct=True).client())
        try:
            yield server, client
        finally:
            await client.close()


async def ask(client: Lines, seconds: float = 30) -> Answer | Transient | Unknown:
    return await client.post(ASK, asyncio.get_running_loop().time() + seconds)


@pytest.mark.parametrize(
    "act",
    [reset, cut, hang, go_away(lambda stream: stream)],
    ids=["reset stream", "cut", "silence", "GOAWAY with ours"],
)
async def test_a_request_that_gets_no_answer(tmp_path: Path, act: Act) -> None:
    async with lines(tmp_path) as (server, client):
        server.acts = [act]
        assert isinstance(await ask(client, 2 if act is hang else 30), Unknown)
        assert server.requests == 1, "nothing is sent twice by itself"
        assert isinstance(await ask(client), Answer), "the next one goes through"


@pytest.mark.parametrize(
    "act", [refuse, go_away(lambda _: 0)], ids=["refused stream", "GOAWAY 0: not one was looked at"]
)
async def test_what_was_not_looked_at_is_sent_again_at_once_and_only_once(tmp_path: Path, act: Act) -> None:
    async with lines(tmp_path) as (server, client):
        server.acts = [act]
        assert isinstance(await ask(client), Answer)
        assert server.requests == 2
        server.acts = [act, act]
        outcome = await ask(client)
        assert isinstance(outcome, Transient)
        assert outcome.error_class == "connection"
        assert server.requests == 4


async def test_requests_that_share_a_connection_share_its_end_and_it_is_one_sign(tmp_path: Path) -> None:
    """A hundred lost ones opened the circuit: those who came next were put off though the far side was well."""
    async with lines(tmp_path) as (server, client):
        server.acts = [answer, hang, hang, hang, cut]
        await ask(client)
        outcomes = await asyncio.gather(*(ask(client) for _ in range(4)))
        assert all(isinstance(outcome, Unknown) for outcome in outcomes)
        assert sorted(sign(outcome).name for outcome in outcomes if isinstance(outcome, Unknown)) == [
            "ILL",
            *["NONE"] * 3,
        ]
        assert isinstance(await ask(client), Answer)


async def test_where_connections_break_fewer_requests_share_one(tmp_path: Path) -> None:
    async with lines(tmp_path) as (server, client):
        assert await at_once(client, 8) == {Answer}
        assert server.connections == 1, "a far side that is well has one"
        for _ in range(5):
            server.acts = [cut]
            await ask(client)
        before = server.connections
        assert await at_once(client, 2 * LEAST) == {Answer}
        assert server.connections - before == 2


async def at_once(client: Lines, number: int) -> set[type]:
    return {type(outcome) for outcome in await asyncio.gather(*(ask(client) for _ in range(number)))}


async def test_a_connection_that_is_no_longer_needed_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lines(tmp_path) as (server, client):
        client._trust.room = 1
        assert await at_once(client, 3) == {Answer}
        assert (server.connections, len(client._lines)) == (3, 3)
        monkeypatch.setattr("workers.lines.IDLE_SECONDS", 0.0)
        await ask(client)
        await ask(client)
        assert len(client._lines) == 1


def test_trust_is_lost_by_halves_and_won_by_answers() -> None:
    trust = Trust()
    trust.broke()
    assert trust.room == MOST / 2
    for _ in range(20):
        trust.answered()
    assert int(trust.room) == MOST / 2 + 2
    for _ in range(20):
        trust.broke()
    assert trust.room == LEAST
    for _ in range(MOST * 20):
        trust.answered()
    assert trust.room == MOST


async def test_what_came_after_the_last_stream_looked_at_goes_over_a_new_connection(tmp_path: Path) -> None:
    async with lines(tmp_path) as (server, client):
        server.acts = [answer, go_away(lambda stream: stream - 2)]
        assert isinstance(await ask(client), Answer)
        assert isinstance(await ask(client), Answer)
        assert (server.connections, server.requests) == (2, 3)


async def test_a_silent_connection_serves_on_for_those_who_are_on_it(tmp_path: Path) -> None:
    """The slow one is on its way when another's time is over."""
    async with lines(tmp_path) as (server, client):
        late: list[int] = []
        server.acts = [answer, lambda _, stream: late.append(stream), hang, answer]
        await ask(client)
        slow = asyncio.create_task(ask(client, 60))
        assert isinstance(await ask(client, 2), Unknown)
        assert isinstance(await ask(client), Answer)
        assert server.connections == 2
        assert not slow.done()
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


async def test_a_client_that_is_replaced_ends_with_what_is_under_way(tmp_path: Path) -> None:
    """Another version of the config must not make an unknown outcome of every request on its way."""
    async with lines(tmp_path) as (server, client):
        come = asyncio.Event()
        late: list[tuple[Any, int]] = []

        def wait(connection: Any, stream: int) -> None:
            late.append((connection, stream))
            come.set()

        server.acts = [wait]
        slow = asyncio.create_task(ask(client))
        async with asyncio.timeout(60):
            await come.wait()
        (line,) = client._lines
        await client.close()
        answer(*late[0])
        assert isinstance(await slow, Answer)
        assert line.made.is_closed


async def test_no_time_left_is_no_request(tmp_path: Path) -> None:
    async with lines(tmp_path) as (server, client):
        assert isinstance(await ask(client, -1), Transient)
        assert server.requests == 0


@pytest.mark.parametrize(("left", "expected"), [(True, Unknown), (False, Transient)])
async def test_a_fault_of_the_library_is_judged_by_how_far_the_request_came(
    monkeypatch: pytest.MonkeyPatch, left: bool, expected: type
) -> None:
    """Seen where connections were reset under a hundred requests; it came out as an error of the worker's own."""

    async def released_twice(_: object, __: object, progress: Progress, ___: object) -> Answer:
        progress.left = left
        raise ValueError("semaphore released too many times")

    monkeypatch.setattr("workers.lines.exchange", released_twice)
    client = Lines(httpx.AsyncClient)
    outcome = await client.post(Request("/", {}, b""), asyncio.get_running_loop().time() + 5)
    await client.close()
    assert isinstance(outcome, expected)
