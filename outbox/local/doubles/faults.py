"""The fault menu: what goes wrong with a double's next requests or connections, by order of a test or a person."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTROL = "/_double"  # the double's own paths, where nothing fails


class Kind(StrEnum):
    """Of a request: it is late, answered otherwise, answered by nonsense, never answered, or its connection is reset.
    Of a new connection: it is reset, hears nothing for ever, or hears what is no TLS and no HTTP."""

    SLOW = "slow"
    ANSWER = "answer"
    MALFORMED = "malformed"
    HANG = "hang"
    RESET = "reset"
    REFUSED = "refused"
    SILENT = "silent"
    GARBAGE = "garbage"


AT_CONNECT = frozenset({Kind.REFUSED, Kind.SILENT, Kind.GARBAGE})


@dataclass(frozen=True, slots=True)
class Fault:
    """For the next `times` requests (None: until cleared), or for that `share` of them. `taken`: the double does its
    work first, and only the answer fails – the case in which a sender cannot know. `body` is JSON, or text as it is."""

    kind: Kind
    times: int | None = 1
    share: float = 1.0
    seconds: float = 0.0
    taken: bool = False
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = ""
    path: str = ""  # only requests whose path holds this

    def content(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


@dataclass(slots=True)
class Menu:
    """Orders are served first come, first served."""

    orders: list[Fault] = field(default_factory=list)
    served: int = 0
    chance: Callable[[], float] = random.random

    def order(self, kind: Kind, **details: Any) -> None:
        self.orders.append(Fault(kind, **details))

    def clear(self) -> None:
        self.orders.clear()

    def take(self, *, connecting: bool, path: str = "") -> Fault | None:
        for at, fault in enumerate(self.orders):
            if (fault.kind in AT_CONNECT) != connecting or fault.path not in path:
                continue
            if fault.share < 1 and self.chance() >= fault.share:
                continue
            if fault.times is not None:
                left = replace(fault, times=fault.times - 1)
                self.orders[at : at + 1] = [left] if left.times else []
            self.served += 1
            return fault
        return None


@dataclass(frozen=True, slots=True)
class Faulty:
    """The ASGI application as its menu has it. `reset` aborts the connection of a client's port."""

    app: ASGIApp
    menu: Menu
    reset: Callable[[int], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = scope["type"] == "http" and not scope["path"].startswith(CONTROL)
        fault = self.menu.take(connecting=False, path=scope["path"]) if http else None
        if fault is None:
            await self.app(scope, receive, send)
            return
        if fault.seconds:
            await asyncio.sleep(fault.seconds)
        if fault.kind is Kind.SLOW:
            await self.app(scope, receive, send)
            return
        await (self.app(scope, receive, unsaid) if fault.taken else read(receive))
        await self.fail(fault, scope, receive, send)

    async def fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        match fault.kind:
            case Kind.ANSWER:
                await answer(send, fault.status, fault.headers, fault.content())
            case Kind.MALFORMED:
                await answer(send, 200, {"content-type": "application/json"}, b'{"this is": no JSON')
            case Kind.RESET:
                self.reset(scope["client"][1])
                await gone(receive)
            case _:
                await gone(receive)


async def read(receive: Receive) -> None:
    """The request whole, as if it had been taken."""
    while (await receive()).get("more_body"):
        pass


async def gone(receive: Receive) -> None:
    """Until the client gives up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unsaid(_: Message) -> None:
    """The answer, lost."""


async def answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    fields = {"content-length": str(len(body)), **{name.lower(): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
