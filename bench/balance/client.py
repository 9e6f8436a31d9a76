"""One client of the soak: keeps the rules of docs/realtime.md, and remembers what it was told in the order it came."""

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Any

from bench.balance.audit import Told
from bench.sockets.frames import Client as Connection

FINAL = {4400, 4401, 4403}  # codes after which nobody comes back: none may come here
OPEN_SECONDS = 15.0
PING_SECONDS = 10.0
READ_ONE_IN = 5


@dataclass(slots=True)
class Client:
    """A user's inbox as this client knows it."""

    number: int
    user_id: str
    token: str
    port: int
    cursor: int = 0
    unread: int = -1
    version: int = -1
    seqs: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    synced: bool = False
    connections: int = 0
    codes: dict[int, int] = field(default_factory=dict)
    oddities: list[str] = field(default_factory=list)
    connection: Connection | None = None
    failures: int = 0

    async def run(self) -> None:
        """Come, listen, come back, until cancelled."""
        while True:
            lost = asyncio.Event()
            code = await self.connected(lost)
            self.codes[code] = self.codes.get(code, 0) + 1
            if code in FINAL:
                self.oddities.append(f"closed with {code}")
                return
            self.failures += 1
            most = min(10.0, 0.5 * 2 ** min(self.failures, 6))
            await asyncio.sleep(most / 2 + random.random() * most / 2)

    async def connected(self, lost: asyncio.Event) -> int:
        """One connection, to its end; its close code, 1006 where there was none."""
        self.synced = False
        protocols = f"outbox.v1, bearer.{self.token}"
        made = Connection(self.number, f"/v1/ws?cursor={self.cursor}", protocols, self.take)
        made.on_lost = lost.set
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await loop.create_connection(lambda: made, "127.0.0.1", self.port)
                self.connection = made
                await made.up
        except (OSError, TimeoutError):
            made.up.cancel()
            if made.transport:
                made.transport.abort()
            return made.close_code
        self.connections += 1
        await self.listen(made, lost)
        return made.close_code

    async def listen(self, made: Connection, lost: asyncio.Event) -> None:
        """With a ping now and then: a connection that died silently is found by asking."""
        assert made.transport
        while not lost.is_set():
            heard = made.heard
            try:
                await asyncio.wait_for(lost.wait(), PING_SECONDS * random.uniform(1, 2))
            except TimeoutError:
                if made.heard == heard and made.asked:
                    made.transport.abort()
                made.asked = made.heard == heard
                made.send(b'{"type":"ping"}')

    def take(self, made: Connection, text: bytes) -> None:
        if made is not self.connection:
            return
        frame = json.loads(text)
        match frame["type"]:
            case "welcome":
                made.ready()
                if not frame["resumed"]:
                    self.oddities.append(f"not resumed at {self.cursor}")
            case "notification":
                self.take_item(made, frame)
            case "changed":
                self.read.update(frame["read"])
                self.read.difference_update(frame["unread_again"])
            case "synced":
                self.cursor = frame["last_seq"]
                self.synced, self.failures = True, 0
            case "error":
                self.oddities.append(frame["code"]) if frame["code"] != "unavailable" else None
        self.count(frame)

    def take_item(self, made: Connection, frame: dict[str, Any]) -> None:
        if frame["seq"] != self.cursor + 1:
            self.oddities.append(f"seq {frame['seq']} after {self.cursor}")
        self.cursor = frame["seq"]
        self.seqs.append(frame["seq"])
        self.ids.append(frame["notification_id"])
        if frame["read_at"]:
            self.read.add(frame["seq"])
        if frame["seq"] % READ_ONE_IN == 0:
            made.send(b'{"type":"read","seqs":[%d]}' % frame["seq"])

    def count(self, frame: dict[str, Any]) -> None:
        if frame["type"] != "welcome" and frame.get("version", -1) > self.version:
            self.version, self.unread = frame["version"], frame["unread"]

    def told(self) -> Told:
        return Told(
            self.user_id, self.seqs, self.ids, self.unread, self.version, sorted(self.read), self.oddities
        )

    def at(self, last_seq: int, version: int) -> bool:
        return self.synced and self.cursor == last_seq and self.version == version
