"""The proxy of the chaos run, between a client and an echo server."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from bench.chaos.proxy import Proxy
from outbox.local.ports import any_free

Ends = tuple[StreamReader, StreamWriter]


async def serve(prefix: bytes, ended: "asyncio.Queue[str]") -> asyncio.Server:
    """Echoes behind a prefix; tells how each connection ended."""

    async def echo(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(prefix + chunk)
                await writer.drain()
            await ended.put("end")
        except ConnectionResetError:
            await ended.put("reset")
        finally:
            writer.close()

    return await asyncio.start_server(echo, "127.0.0.1", 0)


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


@pytest.fixture
def ended() -> "asyncio.Queue[str]":
    return asyncio.Queue()


@pytest.fixture
async def proxy(ended: "asyncio.Queue[str]") -> AsyncIterator[Proxy]:
    server = await serve(b"", ended)
    proxy = Proxy("127.0.0.1", port_of(server))
    await proxy.start()
    yield proxy
    await proxy.stop()
    server.close()


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.close()


async def asked(ends: Ends, question: bytes, seconds: float = 60) -> bytes:
    reader, writer = ends
    writer.write(question)
    async with asyncio.timeout(seconds):
        return await reader.read(65536)


async def is_silent(ends: Ends) -> bool:
    """Bytes go in, nothing comes out, not even an end."""
    with pytest.raises(TimeoutError):
        await asked(ends, b"anybody?", seconds=0.1)
    return True


async def test_passes_everything_on_in_both_directions(proxy: Proxy, client: Ends) -> None:
    reader, writer = client
    sent = bytes(range(256)) * 20_000
    async with asyncio.timeout(60):
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent


async def test_a_client_that_only_stops_writing_still_gets_its_answer(
    client: Ends, ended: "asyncio.Queue[str]"
) -> None:
    reader, writer = client
    writer.write(b"last words")
    writer.write_eof()
    async with asyncio.timeout(60):
        assert await reader.read() == b"last words"
        assert await ended.get() == "end"


async def test_cut_resets_both_sides_and_lets_new_ones_in(
    proxy: Proxy, client: Ends, ended: "asyncio.Queue[str]"
) -> None:
    assert await asked(client, b"before") == b"before"
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await asked(client, b"after")
    async with asyncio.timeout(60):
        assert await ended.get() == "reset"
    again = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await asked(again, b"again") == b"again"
    again[1].close()


async def test_delays_each_direction(proxy: Proxy, client: Ends) -> None:
    proxy.delay_seconds = 0.1
    began = monotonic()
    assert await asked(client, b"slow") == b"slow"
    assert monotonic() - began >= 0.2


async def test_swallow_says_nothing_to_anybody_and_never_resumes_a_stream_with_a_hole(
    proxy: Proxy, client: Ends, ended: "asyncio.Queue[str]"
) -> None:
    assert await asked(client, b"before") == b"before"
    proxy.swallow = True
    assert await is_silent(client)
    new = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await is_silent(new)
    proxy.swallow = False
    assert await is_silent(client)
    assert await is_silent(new)
    healthy = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await asked(healthy, b"hello") == b"hello"
    for _, writer in (client, new):
        writer.transport.abort()  # the far side hears nothing of this, either
    assert await asked(healthy, b"still there") == b"still there"
    assert ended.empty()
    healthy[1].close()


async def test_swallow_existing_leaves_new_connections_alone(proxy: Proxy, client: Ends) -> None:
    assert await asked(client, b"before") == b"before"
    proxy.swallow_existing()
    assert await is_silent(client)
    new = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await asked(new, b"new") == b"new"
    new[1].close()


async def test_new_connections_follow_the_target(proxy: Proxy, client: Ends) -> None:
    assert await asked(client, b"old") == b"old"
    other = await serve(b"other:", asyncio.Queue())
    proxy.target = ("127.0.0.1", port_of(other))
    assert await asked(client, b"old") == b"old"
    new = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await asked(new, b"new") == b"other:new"
    new[1].close()
    other.close()


async def test_a_target_that_refuses_resets_the_client(proxy: Proxy) -> None:
    proxy.target = ("127.0.0.1", any_free())
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    async with asyncio.timeout(60):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
    writer.close()
