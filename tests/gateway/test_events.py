"""Server-sent events: the socket's frames for clients that only listen."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gateway import tickets
from gateway.protocol import Close
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from outbox.verifier import Verifier
from tests.gateway.harness import DEADLINE, Frame, Gate, Inbox, eventually, serving


class Stream:
    """What a browser would make of the response: the data, and with what id and after what pause it returns."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id: str | None = None
        self.retry_ms: int | None = None
        self.comments = 0
        self._lines = response.aiter_lines()

    async def next(self) -> Frame:
        data = ""
        async with asyncio.timeout(DEADLINE):
            async for line in self._lines:
                name, _, value = line.partition(":")
                match name:
                    case "id":
                        self.last_id = value.strip()
                    case "retry":
                        self.retry_ms = int(value)
                    case "data":
                        data = value
                    case "" if data:
                        frame: Frame = json.loads(data)
                        return frame
                    case "" if line:
                        self.comments += 1
        raise EOFError

    async def until(self, kind: str) -> list[Frame]:
        frames = [await self.next()]
        while frames[-1]["type"] != kind:
            frames.append(await self.next())
        return frames


@asynccontextmanager
async def listening(
    gate: Gate, user_id: str | None, *, ticket: str | None = None, **headers: str
) -> AsyncIterator[Stream]:
    if user_id:
        headers["authorization"] = f"Bearer {gate.token(user_id)}"
    query = {"ticket": ticket} if ticket else {}
    async with (
        httpx.AsyncClient(base_url=f"http://{gate.address}", timeout=DEADLINE) as http,
        http.stream("GET", "/v1/events", params=query, headers=headers) as response,
    ):
        yield Stream(response)


def seqs(frames: list[Frame]) -> list[int]:
    return [frame["seq"] for frame in frames if frame["type"] == "notification"]


async def test_the_same_frames_as_over_a_socket(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("anna", 3)
    async with listening(gate, "anna") as stream, gate.client("anna") as client:
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert stream.response.headers["cache-control"] == "no-store"
        frames = [await client.next() for _ in range(5)]
        assert await stream.until("synced") == frames
        assert [frame["type"] for frame in frames] == ["welcome", *["notification"] * 3, "synced"]
        assert 1000 <= (stream.retry_ms or 0) <= 5000
        await inbox.deliver("anna", 1)
        assert await stream.next() == await client.next()
        await client.send(type="archive", seqs=[4])
        assert await stream.next() == await client.next()


async def test_last_event_id_is_the_cursor(gate: Gate, inbox: Inbox) -> None:
    """Cut off again and again: what the browser sends back by itself is enough to miss nothing."""
    seen: list[int] = []
    last_id = "0"
    for _ in range(4):
        await inbox.deliver("anna", 60)
        async with listening(gate, "anna", **{"last-event-id": last_id}) as stream:
            seen += seqs(await stream.until("synced"))
            await inbox.deliver("anna", 1)
            seen += seqs(await stream.until("notification"))
            assert stream.last_id is not None
            last_id = stream.last_id
    assert seen == list(range(1, 245))


async def test_an_empty_inbox_has_a_cursor_too(gate: Gate, inbox: Inbox) -> None:
    async with listening(gate, "anna") as stream:
        await stream.until("synced")
        assert stream.last_id == "0"
    await inbox.deliver("anna", 60)  # more than the newest that one without a cursor gets
    async with listening(gate, "anna", **{"last-event-id": "0"}) as stream:
        assert len(seqs(await stream.until("synced"))) == 60


async def test_a_ticket_for_a_browser(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("anna", 1)
    async with httpx.AsyncClient(base_url=f"http://{gate.address}") as http:
        refused = await http.post("/v1/events/tickets")
        assert (refused.status_code, refused.json()["title"]) == (401, "Unauthenticated")
        bearer = {"authorization": f"Bearer {gate.token('anna')}"}
        answer = await http.post("/v1/events/tickets", headers=bearer)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    ticket = answer.json()["ticket"]
    async with listening(gate, None, ticket=ticket) as stream:
        assert seqs(await stream.until("synced")) == [1]
    async with gate.raw() as ws:  # it is good for nothing else
        await ws.send(json.dumps({"type": "auth", "token": ticket}))
        async with asyncio.timeout(DEADLINE):
            await ws.wait_closed()
        assert ws.close_code == Close.UNAUTHENTICATED


async def test_a_ticket_is_short_lived_and_ends_with_its_token(settings: Settings) -> None:
    long = await Verifier(settings).verify(issue(settings, "anna", Scope.USER, timedelta(hours=1)))
    assert tickets.redeem(settings, tickets.issue(settings, long)).expires_at == long.expires_at
    other = settings.model_copy(update={"jwt_secret": type(settings.jwt_secret)("another" * 9)})
    for bad in (
        "",
        "x.y.z",
        tickets.issue(other, long),
        issue(settings, "anna", Scope.USER, timedelta(hours=1)),
    ):
        with pytest.raises(Exception, match="does not hold"):
            tickets.redeem(settings, bad)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Basic eA=="}, 401),
        ({"authorization": "Bearer nonsense"}, 401),
        ({"authorization": "Bearer {producer}"}, 403),
        ({"authorization": "Bearer {user}", "last-event-id": "x"}, 400),
        ({"authorization": "Bearer {user}", "last-event-id": "-1"}, 400),
        ({"authorization": "Bearer {user}", "accept": "application/json"}, 400),
        ({"authorization": "Bearer {user}", "origin": "https://evil.example"}, 403),
    ],
)
async def test_refusals_are_problems(gate: Gate, headers: dict[str, str], status: int) -> None:
    tokens = {"producer": gate.token("shop", Scope.PRODUCER), "user": gate.token("anna")}
    sent = {name: value.format(**tokens) for name, value in headers.items()}
    async with listening(gate, None, **sent) as stream:
        assert stream.response.status_code == status
        assert stream.response.headers["content-type"] == "application/problem+json"
        assert json.loads(await stream.response.aread())["status"] == status
    assert gate.board.count() == 0


async def test_other_origins_that_are_listed_may_read(settings: Settings) -> None:
    origin = "https://app.example"
    async with (
        serving(settings.model_copy(update={"gateway_origins": [origin]})) as gate,
        httpx.AsyncClient(base_url=f"http://{gate.address}") as http,
    ):
        asked = {
            "origin": origin,
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization",
        }
        preflight = await http.options("/v1/events", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        async with listening(gate, "anna", origin=origin) as stream:
            assert stream.response.headers["access-control-allow-origin"] == origin


async def test_expiry_ends_the_stream(gate: Gate) -> None:
    token = gate.token("anna", seconds=8)
    async with listening(gate, None, authorization=f"Bearer {token}") as stream:
        *_, last = await stream.until("closed")
        assert last["code"] == Close.TOKEN_EXPIRED
        with pytest.raises(EOFError):
            await stream.next()
    await eventually(lambda: not gate.board.count())


async def test_drain_tells_when_to_come_back(settings: Settings) -> None:
    async with serving(settings) as gate, listening(gate, "anna") as stream:
        await stream.until("synced")
        gate.stop.ask()
        *_, last = await stream.until("closed")
        assert last["code"] == Close.RESTARTING
        assert stream.retry_ms == last["retry_ms"]
        assert 0 <= last["retry_ms"] < 500


async def test_draining_gateway_takes_nobody_in(gate: Gate) -> None:
    gate.board.draining = True
    async with listening(gate, "anna") as stream:
        assert stream.response.status_code == 503
        assert stream.response.headers["retry-after"] == "2"


async def test_heartbeats(gate: Gate, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.events.HEARTBEAT_SECONDS", 0.02)
    async with listening(gate, "anna") as stream:
        await stream.until("synced")
        waiting: asyncio.Task[Any] = asyncio.create_task(stream.next())
        await eventually(lambda: stream.comments > 2)
        await inbox.deliver("anna", 1)
        assert (await waiting)["seq"] == 1


async def test_who_leaves_is_gone_at_once(gate: Gate) -> None:
    async with listening(gate, "anna") as stream:
        await stream.until("synced")
        assert gate.board.count() == 1
    await eventually(lambda: not gate.board.count())


async def test_who_takes_nothing_is_cut_off(
    settings: Settings, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.line.CLOSE_SECONDS", 0.1)
    async with serving(settings.model_copy(update={"gateway_queue": 8})) as gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", settings_port(gate), limit=1024)
        writer.write(
            f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gate.token('anna')}\r\n\r\n".encode()
        )
        async with asyncio.timeout(DEADLINE):
            await reader.readuntil(b"synced")
        await inbox.deliver("anna", 150, text="x" * 60_000)
        await eventually(lambda: not gate.board.count())
        writer.transport.abort()


def settings_port(gate: Gate) -> int:
    return gate.settings.gateway_port
