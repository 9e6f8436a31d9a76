"""What is said to either server, and how a message for a user is published to it by Redis."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

from bench.processes import JWT_SECRET
from bench.sockets.frames import Client

PAYLOAD = {
    "title": "Your order has been paid",
    "body": "It leaves our house tomorrow.",
    "url": "https://shop.example/o/1",
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def user(number: int) -> str:
    return f"user-{number}"


class Dialect(ABC):
    """One server's way of speaking."""

    path: str

    def protocols(self, number: int) -> str:
        return ""

    @abstractmethod
    def take(self, client: Client, text: bytes) -> None:
        """A frame that is no message."""

    @abstractmethod
    def publication(self, number: int, count: int, at_ns: int) -> tuple[bytes, bytes]:
        """The pub/sub channel, and the user's `count`th message; it says when it was sent as "t"."""


class Outbox(Dialect):
    """Ours: the hint that the in-app worker publishes."""

    path = "/v1/ws"

    def protocols(self, number: int) -> str:
        claims = {"sub": user(number), "scope": "user", "iss": "outbox", "aud": "outbox"}
        token = jwt.encode(claims | {"exp": datetime.now(UTC) + timedelta(hours=2)}, JWT_SECRET, "HS256")
        return f"outbox.v1, bearer.{token}"

    def take(self, client: Client, text: bytes) -> None:
        if b'"type":"synced"' in text:
            client.ready()

    def publication(self, number: int, count: int, at_ns: int) -> tuple[bytes, bytes]:
        item = {
            "seq": count, "notification_id": str(UUID(int=count)), "event_type": "order.paid", "actor_user_id": None,
            "payload": PAYLOAD | {"t": at_ns}, "created_at": NOW.isoformat(), "delivered_at": NOW.isoformat(),
            "read_at": None, "archived_at": None,
        }  # fmt: skip
        change = {
            "version": count,
            "last_seq": count,
            "unread": count,
            "item": item,
            "read": [],
            "archived": [],
        }
        return f"user:{user(number)}:notifications".encode(), compact(change)


class SocketIo(Dialect):
    """Engine.IO 4 over WebSocket alone, Socket.IO 5; published as @socket.io/redis-emitter does."""

    path = "/socket.io/?EIO=4&transport=websocket"

    def take(self, client: Client, text: bytes) -> None:
        if text.startswith(b"0"):  # open
            client.send(b"40" + compact({"user": user(client.number)}))
        elif text == b"2":  # ping
            client.send(b"3")
        elif text.startswith(b"40"):  # connected
            client.ready()

    def publication(self, number: int, count: int, at_ns: int) -> tuple[bytes, bytes]:
        room = user(number)
        item = {
            "seq": count, "notification_id": str(UUID(int=count)), "event_type": "order.paid", "actor_user_id": None,
            "payload": PAYLOAD | {"t": at_ns}, "created_at": NOW.isoformat(), "delivered_at": NOW.isoformat(),
            "read_at": None, "archived_at": None, "unread": count, "version": count,
        }  # fmt: skip
        packet = {"type": 2, "data": ["notification", item], "nsp": "/"}
        options = {"rooms": [room], "flags": {}, "except": []}
        return f"socket.io#/#{room}#".encode(), pack(["emitter", packet, options])


DIALECTS: dict[str, Dialect] = {"ours": Outbox(), "socket.io": SocketIo()}


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def pack(value: Any) -> bytes:
    """MessagePack, as much of it as is needed here."""
    match value:
        case None:
            return b"\xc0"
        case int():
            return bytes([value]) if 0 <= value < 128 else b"\xcf" + value.to_bytes(8, "big")
        case str():
            text = value.encode()
            return (bytes([0xA0 | len(text)]) if len(text) < 32 else b"\xd9" + bytes([len(text)])) + text
        case dict():
            return bytes([0x80 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())
        case Sequence():
            return bytes([0x90 | len(value)]) + b"".join(map(pack, value))
        case _:
            raise TypeError(type(value).__name__)
