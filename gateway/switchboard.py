"""Connects the lines of this process with Redis and Postgres: who is here, what they are told, what they change."""

import asyncio
import random
from typing import TYPE_CHECKING

from db import inbox
from db.inbox_changes import Applied, apply
from db.pool import Pool
from gateway.catchup import Reader
from gateway.hub import Hub
from gateway.limits import Cap
from gateway.metrics import CHANGES, HEALED, OPENED, SOCKETS, USERS
from gateway.protocol import Arrived, ChangeFrame, Close, Closing
from gateway.sharded_hub import ShardedHub
from gateway.traced import pushing
from outbox.inbox import InboxChange
from outbox.inbox_hints import publish
from outbox.log import get
from outbox.nodes import Nodes
from outbox.service import wait
from outbox.settings import Settings
from outbox.verifier import Verifier

if TYPE_CHECKING:
    from gateway.line import Line

log = get("gateway")

POOL_SIZE = 10
CATCH_UPS_AT_ONCE = 6  # the rest of the pool is for what clients change
USERS_A_QUERY = 1000
RECONCILE_WITHOUT_REDIS_SECONDS = 2.0
# When those who are sent away come back: 4,000 a second, over half a second at least and five at most.
SENT_AWAY_PER_MS = 4
RETRY_SPREAD_MS = (500, 5000)
DRAIN_SECONDS = 10.0


class Switchboard:
    def __init__(self, settings: Settings, pool: Pool, nodes: Nodes) -> None:
        self.settings = settings
        self.verifier = Verifier(settings)
        self.reader = Reader(pool, CATCH_UPS_AT_ONCE)
        self.draining = False
        self.look = asyncio.Event()  # wakes the reconciliation
        hub = ShardedHub if nodes.is_cluster else Hub
        self.hub: Hub | ShardedHub = hub(nodes, settings.keys, self.tell, on_ready=self.look)
        self._pool = pool
        self._nodes = nodes
        self.addresses = Cap(settings.gateway_connections_per_address)
        self.strangers = Cap(settings.gateway_strangers_per_address)
        self._lines: dict[str, set[Line]] = {}
        self._empty = asyncio.Event()

    def enter(self, line: "Line") -> asyncio.Event:
        """A line more. The event is set while its user's channel is subscribed."""
        self._lines.setdefault(line.user_id, set()).add(line)
        self._empty.clear()
        OPENED.inc()
        SOCKETS.inc()
        USERS.set(len(self._lines))
        return self.hub.join(line.user_id)

    def leave(self, line: "Line") -> None:
        here = self._lines[line.user_id]
        here.remove(line)
        if not here:
            del self._lines[line.user_id]
        if not self._lines:
            self._empty.set()
        SOCKETS.dec()
        USERS.set(len(self._lines))
        self.hub.leave(line.user_id)

    def tell(self, user_id: str, change: InboxChange | Arrived | None) -> None:
        """Pass a hint on to the user's lines here."""
        lines = list(self._lines.get(user_id, ()))
        with pushing(change, lines):
            for line in lines:
                line.hint(change)

    async def change(self, user_id: str, frame: ChangeFrame) -> Applied:
        """Carry out a client's change and tell all of the user's lines, here and on other gateways.

        One transaction. Raises one of db.pool.OUTAGES when Postgres does not answer.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            applied = await apply(conn, user_id, frame.change())
        CHANGES.labels(frame.type, "done" if applied.hint else "nothing").inc()
        if applied.hint:
            self.tell(user_id, applied.hint)  # Redis brings it again; the sessions drop what they know
            await publish(self._nodes, self.settings.keys, user_id, applied.hint)
        return applied

    async def reconcile(self) -> float:
        """Compare what Postgres has with what the lines know, and wake those behind: a hint may be lost, as
        when a worker dies between its commit and its PUBLISH. Often while there is no Redis to bring any."""
        users = list(self._lines)
        for start in range(0, len(users), USERS_A_QUERY):
            batch = users[start : start + USERS_A_QUERY]
            known = {user_id: self._known(user_id) for user_id in batch}
            async with self._pool.acquire() as conn:
                versions = await inbox.versions(conn, batch)
            for user_id in batch:
                self._heal(user_id, versions.get(user_id, 0), known[user_id])
        pause = self.settings.gateway_reconcile
        return pause if self.hub.ready else min(pause, RECONCILE_WITHOUT_REDIS_SECONDS)

    def _known(self, user_id: str) -> int:
        return max((line.version for line in self._lines.get(user_id, ())), default=-1)

    def _heal(self, user_id: str, version: int, known: int) -> None:
        """Versions only grow: one below what was known before it was read is that of an inbox begun anew."""
        anew = version < known
        behind = [line for line in self._lines.get(user_id, ()) if line.suspect(version, anew=anew)]
        if behind:
            HEALED.inc()
            log.info("gateway.healed", sockets=len(behind))

    async def drain(self) -> None:
        """Close every line with a hint when to come back, spread out so that they don't come all at once."""
        self.draining = True
        sockets = self.count()
        log.info("gateway.draining", sockets=sockets)
        for here in list(self._lines.values()):
            for line in list(here):
                line.close(stopping(sockets))
        if self._lines:
            await wait(self._empty, DRAIN_SECONDS)

    def lines_of(self, user_id: str) -> int:
        return len(self._lines.get(user_id, ()))

    def count(self) -> int:
        """Lines here."""
        return sum(map(len, self._lines.values()))

    def no_redis(self) -> str | None:
        """For /readyz."""
        return "not subscribed: Redis does not answer" if self.hub.deaf else None


def stopping(sockets: int = 0) -> Closing:
    """With a moment of its own for each of so many to come back."""
    least, most = RETRY_SPREAD_MS
    spread = min(most, max(least, sockets // SENT_AWAY_PER_MS))
    return Closing(Close.RESTARTING, "the gateway is stopping", random.randrange(spread))
