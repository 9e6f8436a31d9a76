"""A socket under bad weather: slow readers, garbage, a stopping gateway, an absent database."""

import asyncio
import socket

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.metrics import CLOSED
from gateway.protocol import MAX_FRAME_BYTES, Close
from gateway.socket import BAD_FRAMES_ALLOWED
from gateway.switchboard import stopping
from outbox.settings import Settings
from tests.gateway.harness import Client, Gate, Inbox, eventually, serving


async def test_slow_reader_is_closed_and_others_are_not(
    settings: Settings, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He stops reading; the kernel's buffers fill, then his queue; then he comes back with his cursor."""
    monkeypatch.setattr("gateway.line.CLOSE_SECONDS", 60)
    total, text = 150, "x" * 60_000
    async with serving(settings.model_copy(update={"gateway_queue": 8})) as gate:
        before = closed(Close.TOO_SLOW)
        async with (
            gate.client("anna", sock=narrow(gate), max_queue=1) as slow,
            gate.client("anna") as quick,
            gate.client("ben") as ben,
        ):
            for client in (slow, quick, ben):
                await client.synced()
            for _ in range(total):
                await inbox.deliver("anna", 1, text=text)
                await quick.has(len(quick.seqs) + 1)
            await eventually(lambda: closed(Close.TOO_SLOW) == before + 1)
            assert (await slow.closed()).code == Close.TOO_SLOW
            await inbox.deliver("ben", 1)
            await ben.has(1)
        assert len(slow.seqs) < total
        async with gate.client("anna", slow.cursor) as back:
            await back.synced()
            assert slow.seqs + back.seqs == quick.seqs == list(range(1, total + 1))


def narrow(gate: Gate) -> socket.socket:
    """A connection whose receiving side holds little."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", gate.settings.gateway_port))
    sock.setblocking(False)
    return sock


def closed(code: Close) -> float:
    value: float = CLOSED.labels(code.value)._value.get()
    return value


async def test_a_peer_that_takes_nothing_at_all_is_cut_off(
    settings: Settings, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the close frame gets through: the socket must not stay in memory for ever."""
    monkeypatch.setattr("gateway.line.CLOSE_SECONDS", 0.1)
    async with (
        serving(settings.model_copy(update={"gateway_queue": 8})) as gate,
        gate.client("anna", sock=narrow(gate), max_queue=1, ping_interval=None) as stuck,
    ):
        await stuck.synced()
        await inbox.deliver("anna", 150, text="x" * 60_000)
        await eventually(lambda: not gate.board.count())
        stuck.ws.transport.abort()


async def test_bursts_are_not_slowness(gate: Gate, inbox: Inbox) -> None:
    """Five queues' worth, published in one go."""
    total = gate.settings.gateway_queue * 5
    async with gate.client("anna") as client:
        await client.synced()
        changes = await inbox.commit("anna", total)
        await inbox.publish_raw("anna", *(change.model_dump_json() for change in changes))
        await client.has(total)
        assert client.seqs == list(range(1, total + 1))


GARBAGE: list[str | bytes] = [
    "",
    "nonsense",
    "[]",
    "null",
    "{}",
    '{"type":"x"}',
    '{"type":"' + "x" * 5000 + '"}',
    '{"type":"read"}',
    '{"type":"read","seqs":[]}',
    '{"type":"read","seqs":["1"]}',
    '{"type":"read","seqs":[-1]}',
    '{"type":"read","seqs":[9223372036854775808]}',
    '{"type":"read","seqs":[1.5]}',
    '{"type":"read","seqs":[1],"user_id":"ben"}',
    '{"type":"read","seqs":[1],"' + "x" * 5000 + '":1}',
    '{"type":"read_all","up_to":null}',
    '{"type":"read","seqs":[' + "1," * 600 + "1]}",
    '{"type":"welcome"}',
    "[" * 5000,
    b"\x00\xff",
]


async def test_garbage_is_answered_and_harms_nothing(gate: Gate, inbox: Inbox) -> None:
    for start in range(0, len(GARBAGE), BAD_FRAMES_ALLOWED):
        async with gate.client("anna") as client:
            await client.synced()
            for frame in GARBAGE[start : start + BAD_FRAMES_ALLOWED]:
                await client.ws.send(frame)
                answer = await client.next()
                assert (answer["type"], answer["code"]) == ("error", "bad_frame"), frame
                assert len(answer["detail"]) <= 200
            before = len(client.seqs)
            await inbox.deliver("anna", 1)
            await client.has(before + 1)


async def test_repeated_garbage_ends_the_socket(gate: Gate) -> None:
    async with gate.client("anna") as client:
        await client.synced()
        for _ in range(BAD_FRAMES_ALLOWED + 1):
            await client.ws.send("garbage")
        assert (await client.closed()).code == Close.BAD_FRAMES


async def test_oversized_frame_ends_the_socket(gate: Gate) -> None:
    async with gate.client("anna") as client:
        await client.synced()
        await client.ws.send("x" * (MAX_FRAME_BYTES + 1))
        assert (await client.closed()).code == 1009


async def test_ping(gate: Gate) -> None:
    async with gate.client("anna") as client:
        await client.synced()
        await client.send(type="ping")
        assert await client.next() == {"type": "pong"}


async def test_drain_on_stop(settings: Settings) -> None:
    async with (
        serving(settings) as gate,
        gate.client("anna") as anna,
        gate.client("ben") as ben,
        gate.raw() as unknown,
    ):
        await anna.synced()
        await ben.synced()
        gate.stop.ask()
        for client in (anna, ben):
            end = await client.closed()
            assert end.code == Close.RESTARTING
            name, _, milliseconds = end.reason.partition("=")
            assert name == "retry_ms"
            assert 0 <= int(milliseconds) < 500
        assert (await Client(unknown).closed()).code == Close.RESTARTING


@pytest.mark.parametrize(("sockets", "spread"), [(0, 500), (2_000, 500), (8_000, 2_000), (90_000, 5_000)])
def test_the_more_are_sent_away_the_longer_they_take_to_come_back(sockets: int, spread: int) -> None:
    pauses = [stopping(sockets).retry_ms or 0 for _ in range(2_000)]
    assert 0.9 * spread < max(pauses) < spread


async def test_draining_gateway_takes_nobody_in(gate: Gate) -> None:
    gate.board.draining = True
    with pytest.raises(InvalidStatus) as refused:
        await gate.raw().__aenter__()
    assert refused.value.response.status_code == 503


async def test_who_says_who_it_is_while_the_gateway_drains_is_sent_away(gate: Gate) -> None:
    """Its socket is older than the draining, so nobody else would tell it."""
    async with gate.raw() as ws:
        gate.board.draining = True
        client = Client(ws)
        await client.send(type="auth", token=gate.token("anna"))
        end = await client.closed()
        assert (end.code, end.reason.partition("=")[0]) == (Close.RESTARTING, "retry_ms")
        assert gate.board.count() == 0


async def test_database_away(gate: Gate, inbox: Inbox, settings: Settings) -> None:
    """A change is answered with an error and the socket stays; a catch-up that fails ends it with its code."""
    async with gate.client("anna") as client:
        await client.synced()
        gate.board.reader._pool.terminate()
        await client.send(type="read", seqs=[1])
        frame = await client.next()
        assert (frame["type"], frame["code"]) == ("error", "unavailable")
        await inbox.commit("anna", 1)
        await inbox.deliver("anna", 1)  # a gap: it must look
        assert (await client.closed()).code == Close.TRY_LATER


async def test_a_mistake_of_ours_cuts_the_socket_and_is_logged(
    gate: Gate, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with gate.client("anna") as client:
        await client.synced()
        with monkeypatch.context() as broken:
            broken.setattr("gateway.line.catch_up", None)
            await inbox.commit("anna", 1)
            await inbox.deliver("anna", 1)
            with pytest.raises(ConnectionClosed):
                await client.has(2)
        await eventually(lambda: not gate.board.count())
    assert "Exception in ASGI application" in caplog.text


async def test_a_hundred_who_come_at_once_leave_the_pool_to_others(settings: Settings, inbox: Inbox) -> None:
    """A storm of reconnections, each with a long catch-up; a change gets through meanwhile."""
    await inbox.deliver("anna", 300)
    crowded = settings.model_copy(update={"gateway_connections_per_user": 100})
    async with serving(crowded) as gate, gate.client("ben") as ben:
        await ben.synced()

        async def come() -> list[int]:
            async with gate.client("anna", 0) as client:
                await client.synced()
                return client.seqs

        storm = [asyncio.create_task(come()) for _ in range(100)]
        await ben.send(type="read_all", up_to=1)
        assert (await ben.next())["type"] == "changed"
        for task in storm:
            assert await task == list(range(1, 301))
