"""The one owner of LISTEN: its own connection, a ping that comes back, reconnect with back-off, then a look."""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any

from db.pool import OUTAGES, Connection, connect
from outbox.log import get
from outbox.service import backoff, describe
from relay import metrics

CHANNEL = "notify_relay"
PING_SECONDS = 2.0
SILENCE_SECONDS = 5.0

log = get("relay")


class Listener:
    """Sets `wake` at each notification, and at each reconnect, since one may have been missed meanwhile.

    Every PING_SECONDS it notifies itself; where nothing comes back for SILENCE_SECONDS the connection is
    dead, whatever TCP says (a dropped packet tells nobody), and is replaced.
    """

    def __init__(self, url: str, wake: asyncio.Event) -> None:
        self.url = url
        self.wake = wake
        self.heard_at = 0.0
        self.notified = False

    def check(self) -> str | None:
        """For readiness: what is wrong."""
        if monotonic() - self.heard_at < SILENCE_SECONDS + PING_SECONDS:
            return None
        return "the LISTEN connection is down; rows are found by polling, seconds late"

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                connection = await connect(self.url, name="relay-listen")
                try:
                    failures = 0
                    await self.listen(connection)
                finally:
                    connection.terminate()
            except OUTAGES as error:
                failures += 1
                metrics.LISTENING.set(0)
                log.warning("relay.listen_lost", error=describe(error), failures=failures)
                await asyncio.sleep(backoff(failures))

    async def listen(self, connection: Connection) -> None:
        ping = f"{CHANNEL}_{connection.get_server_pid()}"
        await connection.add_listener(CHANNEL, self.on_notify)
        await connection.add_listener(ping, self.on_ping)
        log.info("relay.listening")
        self.heard_at = monotonic()
        self.wake.set()
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                await connection.execute("SELECT pg_notify($1, '')", ping)
            await asyncio.sleep(PING_SECONDS)
            if monotonic() - self.heard_at > SILENCE_SECONDS:
                raise TimeoutError("nothing heard from Postgres, not even the relay's own ping")
            metrics.LISTENING.set(1)

    def on_notify(self, *_: Any) -> None:
        self.heard_at = monotonic()
        self.notified = True
        self.wake.set()

    def on_ping(self, *_: Any) -> None:
        self.heard_at = monotonic()

    def take_notified(self) -> bool:
        """Whether a notification came since the last call."""
        notified, self.notified = self.notified, False
        return notified


async def cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
