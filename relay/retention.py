"""Old notifications away: the leader's loop that goes through them by age, a few at a time, and tells the inboxes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic

import asyncpg

from db import retention as sql
from db.pool import OUTAGES, Connection, connect
from db.retention import BEGINNING, Place, Purge, Thinned
from outbox.inbox import InboxChange
from outbox.inbox_hints import spread
from outbox.log import get
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay import metrics
from relay.lead import Lead
from relay.relay import BY_INDEX

log = get("relay")
ROWS = 500  # looked at in one transaction
EVERY_SECONDS = 60.0
STANDBY_SECONDS = 0.5
AGAIN_SECONDS = 600.0  # until an index is looked for again
ROUND_SECONDS = 6 * 3600.0
BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError)


@dataclass(frozen=True, slots=True)
class Round:
    """How far the way through the old ones has come, and the first that stayed on it. `front`: how far any round has
    come. What stays may go later, so the way is gone again, from there on: not from the beginning, where the index
    has what is gone until a vacuum."""

    begun_at: float  # by a clock that only grows
    place: Place = BEGINNING
    stayed: Place | None = None
    front: Place = BEGINNING

    def after(self, step: Purge) -> "Round":
        place = step.last or self.place
        return replace(self, place=place, stayed=self.stayed or step.stayed, front=max(self.front, place))

    def anew(self, now: float) -> "Round":
        """The one that stayed is looked at again itself."""
        place = Place(self.stayed.at, BEGINNING.id) if self.stayed else self.place
        return Round(now, place, None, self.front)


def behind(round_: Round, step: Purge) -> float:
    """For how many seconds the oldest that nobody has looked at could have been gone."""
    return max((step.before - round_.front.at).total_seconds(), 0) if step.looked == ROWS else 0


class Retention:
    """On a connection of its own. A relay that begins to lead begins with the oldest: nothing is kept of it."""

    def __init__(self, lead: Lead, nodes: Nodes, settings: Settings, keep: timedelta) -> None:
        self.lead, self.nodes, self.settings, self.keep = lead, nodes, settings, keep
        self.round: Round | None = None
        self.looked_at, self.late = (
            monotonic(),
            0.0,
        )  # when it looked last, or began to lead; how late it was then
        self.conn: Connection | None = None

    async def step(self) -> float:
        """Some of the oldest. Where there is more it rests for as long as it has worked, so that it takes half of one
        connection's time at the very most."""
        if self.lead.epoch is None:
            self.round, self.looked_at, self.late = None, monotonic(), 0.0
            return STANDBY_SECONDS
        begun = monotonic()
        try:
            found = await self.purge(await self.connected())
        except asyncpg.ObjectNotInPrerequisiteStateError as error:
            self.wait(f"{error}: run outbox migrate")
            return AGAIN_SECONDS
        except BUSY as error:
            self.wait(type(error).__name__)
            return EVERY_SECONDS
        except OUTAGES:
            metrics.PURGE_BEHIND.set(self.late_now())
            if self.conn is not None:
                self.conn.terminate()
            raise
        await self.tell(found.inboxes)
        return monotonic() - begun if found.looked == ROWS else EVERY_SECONDS

    def wait(self, reason: str) -> None:
        log.warning("relay.purge_waits", reason=reason)
        metrics.PURGE_BEHIND.set(self.late_now())

    def late_now(self) -> float:
        """Where a look came to nothing: so late at least."""
        return self.late + monotonic() - self.looked_at

    async def connected(self) -> Connection:
        if self.conn is None or self.conn.is_closed():
            self.conn = await connect(self.settings.own_database, name="relay-retention", **BY_INDEX)
        return self.conn

    async def purge(self, conn: Connection) -> Purge:
        self.round = self.round or Round(monotonic())
        async with conn.transaction():
            await sql.limit_time(conn)
            found = await sql.purge(conn, self.keep, self.round.place, ROWS)
        self.round, self.looked_at = self.round.after(found), monotonic()
        self.late = behind(self.round, found)
        metrics.PURGE_BEHIND.set(self.late)
        for table, rows in found.rows.items():
            metrics.PURGED.labels(table).inc(rows)
        if found.looked < ROWS and monotonic() - self.round.begun_at >= ROUND_SECONDS:
            self.round = self.round.anew(monotonic())
        return found

    async def tell(self, inboxes: Sequence[Thinned]) -> None:
        """What is gone leaves the lists of open sockets as what is archived does. A hint: it may get lost."""
        await spread(
            self.nodes,
            {self.settings.keys.user(inbox.user_id): [hint(inbox).model_dump_json()] for inbox in inboxes},
        )

    async def stop(self) -> None:
        if self.conn is not None:
            await self.conn.close()


def hint(inbox: Thinned) -> InboxChange:
    return InboxChange(
        version=inbox.version, last_seq=inbox.last_seq, unread=inbox.unread, archived=inbox.seqs
    )
