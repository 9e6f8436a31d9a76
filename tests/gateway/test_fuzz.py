"""Whatever bytes a client sends: the gateway neither fails nor falls silent, and other sockets notice nothing."""

import asyncio
import base64
import json
import logging
import os
import re
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.protocol import MAX_FRAME_BYTES, SUBPROTOCOL
from gateway.transport import FRAGMENTS
from outbox.settings import PROJECT
from tests.gateway.harness import DEADLINE, Client, Gate

TEXT, BINARY, CONTINUED, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
DOCUMENTED = {
    int(code)
    for code in re.findall(r"^\| (\d{4}) \|", (PROJECT / "docs" / "realtime.md").read_text(), re.MULTILINE)
}


@dataclass(frozen=True, slots=True)
class Raw:
    """A frame as it goes over the line, right or wrong."""

    opcode: int
    data: bytes = b""
    fin: bool = True
    reserved: int = 0
    masked: bool = True
    claimed: int | None = None  # a length other than the true one

    def encode(self) -> bytes:
        size = len(self.data) if self.claimed is None else self.claimed
        first = (0x80 if self.fin else 0) | self.reserved << 4 | self.opcode
        mask_bit = 0x80 if self.masked else 0
        if size < 126:
            head = struct.pack("!BB", first, mask_bit | size)
        elif size < 65_536:
            head = struct.pack("!BBH", first, mask_bit | 126, size)
        else:
            head = struct.pack("!BBQ", first, mask_bit | 127, size)
        return head + (b"\0\0\0\0" if self.masked else b"") + self.data


def text(value: object) -> bytes:
    return Raw(TEXT, json.dumps(value).encode()).encode()


SEQS = st.lists(st.integers(-2, 2**70), max_size=4)
COMMANDS = st.builds(
    lambda kind, seqs, more: text({"type": kind, "seqs": seqs} | more),
    st.sampled_from(
        ["read", "unread", "archive", "unarchive", "read_all", "archive_all", "ping", "auth", "x", ""]
    ),
    SEQS,
    st.dictionaries(
        st.sampled_from(["up_to", "token", "cursor", "seqs"]),
        st.none() | st.integers() | st.text(),
        max_size=2,
    ),
)
ODD_FRAMES = st.builds(
    Raw,
    opcode=st.integers(0, 15),
    data=st.binary(max_size=200),
    fin=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 1, 4]),
    masked=st.sampled_from([True, True, True, False]),
    claimed=st.none() | st.sampled_from([0, 1, 125, 126, 65_535, 65_536, 2**31, 2**63 - 1, 2**63]),
).map(Raw.encode)
CLOSES = st.builds(
    lambda code, reason: Raw(CLOSE, code.to_bytes(2, "big") + reason).encode(),
    st.sampled_from([0, 999, 1000, 1001, 1004, 1005, 1006, 1011, 1015, 2999, 3000, 4401, 4999, 5000, 65_535]),
    st.binary(max_size=123),
)
FRAGMENTED = st.lists(st.binary(max_size=30), min_size=2, max_size=5).map(
    lambda parts: b"".join(
        Raw(TEXT if not number else CONTINUED, part, fin=number == len(parts) - 1).encode()
        + (Raw(PING, b"between").encode() if number == 1 else b"")
        for number, part in enumerate(parts)
    )
)
CHUNK = st.one_of(
    COMMANDS,
    FRAGMENTED,
    ODD_FRAMES,
    CLOSES,
    st.binary(max_size=300),
    st.sampled_from(
        [
            Raw(TEXT, b"\xff\xfe").encode(),
            Raw(TEXT, b"\xff").encode() + Raw(CLOSE, b"\x03\xe8").encode(),
            Raw(TEXT, b"x" * MAX_FRAME_BYTES).encode(),
            Raw(TEXT, b"x" * (MAX_FRAME_BYTES + 1)).encode(),
            Raw(CLOSE, b"\x03").encode(),
            Raw(CLOSE).encode(),
            Raw(PING, b"x" * 126).encode(),
            Raw(PING, fin=False).encode(),
            Raw(TEXT, fin=False).encode() + Raw(CONTINUED, fin=False).encode() * (FRAGMENTS + 1),
            Raw(TEXT, b"[" * 60_000).encode(),
        ]
    ),
)


@dataclass(frozen=True, slots=True)
class Attack:
    """What one connection does, after the answer to its handshake or without waiting for it."""

    chunks: list[bytes]
    bearer: bool
    patient: bool
    end: str


class Peer:
    """A TCP connection to the gateway, past every WebSocket library."""

    def __init__(self, gate: Gate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.gate = gate
        self.reader = reader
        self.writer = writer

    @classmethod
    async def come(cls, gate: Gate, *, bearer: bool) -> "Peer":
        """With the handshake sent; whether it is answered is the gateway's affair."""
        peer = cls(gate, *await asyncio.open_connection("127.0.0.1", gate.settings.gateway_port))
        offer = SUBPROTOCOL + (f", bearer.{gate.token('mallory')}" if bearer else "")
        key = base64.b64encode(os.urandom(16)).decode()
        peer.writer.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {offer}\r\n\r\n".encode()
        )
        return peer

    async def accepted(self) -> None:
        async with asyncio.timeout(DEADLINE):
            assert (await self.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")

    async def attack(self, attack: Attack) -> None:
        for chunk in attack.chunks:
            self.writer.write(chunk)
            await asyncio.sleep(0)
        if attack.end == "close":
            self.writer.write(Raw(CLOSE, b"\x03\xe8").encode())
        if attack.end != "cut":
            with suppress(OSError):  # the gateway has hung up already
                self.writer.write_eof()

    async def said(self) -> list[tuple[int, bytes]]:
        """The gateway's frames, to the end of the connection."""
        frames = []
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    first, length = await self.reader.readexactly(2)
                    assert first & 0x70 == 0
                    assert length < 128
                    if length >= 126:
                        length = int.from_bytes(
                            await self.reader.readexactly(2 if length == 126 else 8), "big"
                        )
                    frames.append((first & 0x0F, await self.reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return frames
        finally:
            self.writer.transport.abort()


@pytest.fixture
async def bystander(gate: Gate) -> AsyncIterator[Client]:
    """Another client, open all the while."""
    async with gate.client("bystander") as client:
        yield await client.synced()


def code_of(frames: list[tuple[int, bytes]]) -> int | None:
    return next(
        (int.from_bytes(data[:2], "big") for opcode, data in frames if opcode == CLOSE and data), None
    )


def own_codes(sent: bytes) -> set[int]:
    """Codes that the client may have closed with, which are echoed (RFC 6455 §5.5.1)."""
    return {int.from_bytes(sent[at : at + 2], "big") for at in range(len(sent) - 1)}


ATTACKS = st.builds(
    Attack,
    chunks=st.lists(CHUNK, min_size=1, max_size=6),
    bearer=st.booleans(),
    patient=st.booleans(),
    end=st.sampled_from(["close", "cut", "half"]),
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(Attack([b"\x00"], bearer=True, patient=False, end="close"))
@example(Attack([Raw(CLOSE, b"\x03\xe8").encode() * 2], bearer=True, patient=True, end="close"))
@given(ATTACKS)
async def test_any_bytes(
    gate: Gate, bystander: Client, caplog: pytest.LogCaptureFixture, attack: Attack
) -> None:
    peer = await Peer.come(gate, bearer=attack.bearer)
    if attack.patient:
        await peer.accepted()
    await peer.attack(attack)
    if attack.patient and attack.end != "cut":
        code, own = code_of(await peer.said()), own_codes(b"".join(attack.chunks))
        assert code != 1011 or 1011 in own
        assert code is None or code in DOCUMENTED | {1000, *own}
    peer.writer.transport.abort()
    await bystander.send(type="ping")
    assert (await bystander.next())["type"] == "pong"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    path=st.sampled_from(
        ["/v1/ws", "/v1/ws?cursor=x", "/v1/ws/", "/", "/v1/events", "/v2", "/%00", "/%zz", "*"]
    ),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "Upgrade",
                    "Connection",
                    "Sec-WebSocket-Version",
                    "Sec-WebSocket-Key",
                    "Sec-WebSocket-Protocol",
                    "Origin",
                    "Authorization",
                    "Last-Event-ID",
                    "Content-Length",
                    "Transfer-Encoding",
                    "X-Forwarded-For",
                ]
            ),
            st.sampled_from(
                [
                    "websocket",
                    "Upgrade",
                    "13",
                    "x",
                    "",
                    "chunked",
                    "-1",
                    "dGhlIHNhbXBsZSBub25jZQ==",
                    "bearer.",
                    "outbox.v1",
                    "outbox.v1, bearer.x",
                    "Bearer \xff",
                    "http://[",
                    "https://a@b",
                    "\u00e4",
                ]
            ),
        ),
        max_size=8,
    ),
)
async def test_any_handshake(
    gate: Gate, caplog: pytest.LogCaptureFixture, path: str, headers: list[tuple[str, str]]
) -> None:
    """An answer below 500, or none at all and the connection closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.settings.gateway_port)
    lines = [f"GET {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers), "", ""]
    writer.write("\r\n".join(lines).encode("latin-1"))
    with suppress(OSError):
        writer.write_eof()
    async with asyncio.timeout(DEADLINE):
        try:
            answer = await reader.read(4096)
        except ConnectionError:
            answer = b""
    writer.transport.abort()
    assert not answer or 100 <= int(answer.split(b" ", 2)[1]) < 500
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text
