"""The one owner of LISTEN: its own connection, a ping that comes back, reconnect with back-off, then a look."""

import asyncio
from contextlib import suppress
from typing import Any

from db.pool import OUTAGES, Connection, connect
from outbox.log import get
from outbox.service import backoff, describe, wait
from relay import metrics

CHANNEL = "notify_relay"
# The sum is how long a dead connection may go unnoticed.
PING_SECONDS = 2.0
SILENCE_SECONDS = 3.0
DEAF = (
    "the LISTEN connection answers, but hears nothing: it leads through a pooler in transaction mode."
    " Set OUTBOX_LISTEN_DATABASE_URL to Postgres itself"
)

log = get("relay")


class Listener:
    """Sets `wake` at each notification, and at each reconnect, since one may have been missed meanwhile.

    Every `ping` seconds it notifies itself; where that does not come back within `silence` seconds the connection
    is dead, whatever TCP says (a dropped packet tells nobody), and is replaced.
    """

    def __init__(
        self, url: str, wake: asyncio.Event, ping: float = PING_SECONDS, silence: float = SILENCE_SECONDS
    ) -> None:
        self.url = url
        self.wake = wake
        self.ping = ping
        self.silence = silence
        self.alive = False
        self.deaf = False  # behind a pooler: it answers, and no notification comes
        self.came_back = asyncio.Event()
        self.notified = False

    def check(self) -> str | None:
        """For readiness: what is wrong."""
        if self.alive:
            return None
        if self.deaf:
            return DEAF
        return "the LISTEN connection is down; rows are found by polling, seconds late"

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                # A new connection has as long as an old one to prove that it lives.
                async with asyncio.timeout(self.ping + self.silence):
                    connection = await connect(self.url, name="relay-listen")
                try:
                    failures = 0
                    await self.listen(connection)
                finally:
                    connection.terminate()
            except OUTAGES as error:
                failures += 1
                self.deaf = self.deaf and isinstance(error, TimeoutError)
                self.is_alive(False)
                log.warning(
                    "relay.listen_lost", error=DEAF if self.deaf else describe(error), failures=failures
                )
                await asyncio.sleep(backoff(failures))

    async def listen(self, connection: Connection) -> None:
        """Until the connection is lost, which it raises."""
        ping = f"{CHANNEL}_{connection.get_server_pid()}"
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        async with asyncio.timeout(self.silence):
            await connection.add_listener(CHANNEL, self.on_notify)
            await connection.add_listener(ping, self.on_ping)
        if await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid():
            await self.hear_another(ping)
        log.info("relay.listening")
        self.wake.set()
        while True:
            self.came_back.clear()
            async with asyncio.timeout(self.silence):
                await connection.execute("SELECT pg_notify($1, '')", ping)
                await self.came_back.wait()
            self.is_alive(True)
            await wait(closed, self.ping)

    async def hear_another(self, ping: str) -> None:
        """A pooler stands between. In transaction mode it lets pass what is notified on the very connection that
        listens, which proves nothing, and swallows what others notify."""
        self.deaf = True
        other = await connect(self.url, name="relay-ping")
        try:
            async with asyncio.timeout(self.silence):
                await other.execute("SELECT pg_notify($1, '')", ping)
                await self.came_back.wait()
        finally:
            other.terminate()
        self.deaf = False

    def is_alive(self, alive: bool) -> None:
        self.alive = alive
        metrics.LISTENING.set(alive)

    def on_notify(self, *_: Any) -> None:
        self.notified = True
        self.wake.set()

    def on_ping(self, *_: Any) -> None:
        self.came_back.set()

    def take_notified(self) -> bool:
        """Whether a notification came since the last call."""
        notified, self.notified = self.notified, False
        return notified


async def cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
