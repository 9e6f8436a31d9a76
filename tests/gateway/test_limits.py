"""How much of the gateway one may have: connections of a user and of an address, strangers, frames a second."""

import asyncio
import json
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from gateway.limits import Cap, Pace, address
from gateway.protocol import Close
from gateway.transport import BoundedProtocol
from outbox.settings import Settings
from tests.gateway.harness import DEADLINE, Client, Gate, Inbox, eventually, serving

HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


def test_a_cap_counts_each_key_by_itself() -> None:
    cap = Cap(2)
    assert [cap.take("a"), cap.take("a"), cap.take("a"), cap.take("b")] == [True, True, False, True]
    cap.give_back("a")
    assert cap.take("a")
    for key in "aab":
        cap.give_back(key)
    assert cap.held() == 0


def test_pace_holds_two_seconds_worth_and_then_waits_for_its_turn() -> None:
    now = 0.0
    pace = Pace(10, clock=lambda: now)
    assert [pace.wait() for _ in range(20)] == [0.0] * 20
    assert pace.wait() == pytest.approx(0.1)
    now = 0.1
    assert pace.wait() == pytest.approx(0.1)
    now = 60.0
    assert [pace.wait() for _ in range(20)] == [0.0] * 20
    assert pace.wait() > 0


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("testclient", "testclient"),
    ],
)
def test_who_counts_as_one(host: str, counted: str) -> None:
    assert address((host, 1)) == counted
    assert address(None) == ""


async def test_a_user_has_so_many_connections_of_either_kind(settings: Settings) -> None:
    async with (
        serving(settings.model_copy(update={"gateway_connections_per_user": 2})) as gate,
        AsyncExitStack() as stack,
    ):
        first = await stack.enter_async_context(gate.client("anna"))
        await first.synced()
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://{gate.address}"))
        headers = {"authorization": f"Bearer {gate.token('anna')}"}
        second = await stack.enter_async_context(http.stream("GET", "/v1/events", headers=headers))
        assert second.status_code == 200
        async with gate.client("anna") as third:
            assert (await third.closed()).code == Close.TOO_MANY
        assert (await http.get("/v1/events", headers=headers)).status_code == 429
        async with gate.client("ben") as ben:
            await ben.synced()
        await first.ws.close()
        await eventually(lambda: gate.board.lines_of("anna") == 1)
        async with gate.client("anna") as again:
            await again.synced()


async def test_an_address_has_so_many_connections(settings: Settings) -> None:
    limited = settings.model_copy(update={"gateway_connections_per_address": 2})
    async with serving(limited) as gate, gate.client("anna") as anna, gate.client("ben") as ben:
        await anna.synced()
        await ben.synced()
        with pytest.raises(InvalidStatus) as refused:
            await gate.raw().__aenter__()
        assert refused.value.response.status_code == 429
        assert "retry-after" in refused.value.response.headers
        await ben.ws.close()
        await eventually(lambda: gate.board.addresses.held() == 1)
        async with gate.client("cara") as cara:
            await cara.synced()


async def test_forwarded_addresses_are_believed_from_trusted_proxies_only(settings: Settings) -> None:
    limits = {"gateway_connections_per_address": 1}
    trusting = settings.model_copy(update=limits | {"trusted_proxies": ["127.0.0.0/8"]})
    one, two = {"x-forwarded-for": "192.0.2.1"}, {"x-forwarded-for": "198.51.100.9, 192.0.2.2"}
    async with (
        serving(trusting) as gate,
        gate.client("anna", additional_headers=one) as anna,
        gate.client("ben", additional_headers=two) as ben,
    ):
        await anna.synced()
        await ben.synced()
        with pytest.raises(InvalidStatus):  # what a client puts before the proxy's own entry does not count
            await gate.raw(additional_headers={"x-forwarded-for": "203.0.113.5, 192.0.2.2"}).__aenter__()
    direct = settings.model_copy(update=limits)
    async with serving(direct) as gate, gate.client("anna", additional_headers=one) as anna:
        await anna.synced()
        with pytest.raises(InvalidStatus):
            await gate.raw(additional_headers=two).__aenter__()


async def test_few_may_wait_without_saying_who_they_are(settings: Settings) -> None:
    async with (
        serving(settings.model_copy(update={"gateway_strangers_per_address": 1})) as gate,
        gate.raw() as silent,
    ):
        await eventually(lambda: gate.board.strangers.held() == 1)
        async with gate.raw() as other:
            assert (await Client(other).closed()).code == Close.TOO_MANY
        await silent.send(json.dumps({"type": "auth", "token": gate.token("anna")}))
        await Client(silent).synced()
        async with gate.client("anna") as next_one:
            await next_one.synced()


async def test_a_client_that_is_too_fast_is_read_more_slowly(settings: Settings, inbox: Inbox) -> None:
    """And everything it asked for is done, in its order."""
    async with (
        serving(settings.model_copy(update={"gateway_frames_per_second": 10})) as gate,
        gate.client("anna") as client,
    ):
        await client.synced()
        began = monotonic()
        for _ in range(25):
            await client.send(type="ping")
        for _ in range(25):
            assert (await client.next())["type"] == "pong"
        assert monotonic() - began > 0.3  # five more than it may have at once


async def test_who_never_asks_for_anything_is_cut_off(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.transport.REQUEST_SECONDS", 2)
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.settings.gateway_port)
    writer.write(b"GET /v1/ws HTTP/1.1\r\nHost:")
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == b""
    writer.transport.abort()
    async with gate.client("anna") as client:  # one that has asked is not
        await client.synced()
        await client.send(type="ping")
        assert (await client.next())["type"] == "pong"


async def test_pongs_that_nobody_reads_are_not_kept(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ping would leave one in the gateway's memory (RFC 6455 §5.5.3: the last one is enough)."""
    made: list[BoundedProtocol] = []
    monkeypatch.setattr(BoundedProtocol, "handle_connect", noting(made))
    _, writer = await asyncio.open_connection("127.0.0.1", gate.settings.gateway_port)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(HANDSHAKE)
    await eventually(lambda: bool(made) and made[0].handshake_complete)
    ping = b"\x89\xfd" + bytes(4) + b"x" * 125  # masked by zeros
    written = 0
    async with asyncio.timeout(DEADLINE):
        while written < 16_000_000 and not writer.is_closing():
            writer.write(ping * 1000)
            written += len(ping) * 1000
            await writer.drain()
    assert made[0].transport.get_write_buffer_size() < 1_000_000
    writer.transport.abort()


def noting(made: list[BoundedProtocol]) -> Any:
    handle_connect = BoundedProtocol.handle_connect

    def handle(self: BoundedProtocol, event: Any) -> None:
        made.append(self)
        handle_connect(self, event)

    return handle
