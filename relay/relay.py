"""One step of the relay: finish the tick in doubt → promote what is due → look → tick → ship → catch up → rest."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from db import relay as sql
from db.pool import OUTAGES, Connection, connect
from outbox.log import get
from outbox.settings import Settings
from relay import metrics
from relay.catch_up import catch_up
from relay.entries import Row
from relay.lead import Lead
from relay.ledger import Ledger, add_tick, load, row_of
from relay.ship import TICK_ROWS, Shipper
from relay.snapshot import Snapshot, bound
from relay.wake import ASLEEP_FLAG, AWAKE_FLAG, Mode, Sleep

log = get("relay")
PROMOTE = 1000  # scheduled rows a transaction
DUE_SECONDS = 0.05  # how late a busy relay may notice that something is due

# The relay's statements go by index alone. A partition made a moment ago has no statistics, and without
# them the planner would rather sort a backlog whole than read its first page in order.
BY_INDEX = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off", "jit": "off"}


@dataclass(slots=True)
class Relay:
    """Moves what is committed into the streams. All its memory can be lost at any moment: `ledger` comes
    back from Postgres, the streams' ends from Redis."""

    settings: Settings
    shipper: Shipper
    lead: Lead
    sleep: Sleep
    conn: Connection | None = None
    ledger: Ledger | None = None
    cause: str = "start"
    caught_up_at: float = field(default_factory=monotonic)
    due_checked_at: float = 0.0
    due_in: float | None = None
    verified_at: float = 0.0

    async def step(self) -> float:
        """Seconds until the next one is wanted; a wake-up may come before."""
        conn = await self.connected()
        try:
            return await self.work(conn)
        except OUTAGES:
            # What the last statement did is unknown, and so is what the flag says.
            self.forget()
            conn.terminate()
            raise

    async def connected(self) -> Connection:
        if self.conn is None or self.conn.is_closed():
            self.forget()
            self.conn = await connect(self.settings.database, name="relay", **BY_INDEX)
        return self.conn

    def forget(self) -> None:
        self.ledger = None
        self.sleep.forget()

    async def work(self, conn: Connection) -> float:
        epoch = self.lead.epoch
        if not await self.lead.held(conn):
            self.forget()
            self.caught_up_at = monotonic()
            return self.lead.interval
        if self.ledger is None or self.lead.epoch != epoch:
            self.forget()
            self.ledger = await load(conn)
        ledger = self.ledger
        if ledger.in_doubt and ledger.tick:
            await self.shipper.ship_tick(conn, ledger, ledger.tick, None)
        found, seen = await self.advance(conn, ledger)
        if self.ledger is None:
            return 0  # another relay was here: see what it did
        moved = await catch_up(conn, self.shipper, ledger)
        await self.promote(conn, found)
        await self.verify(conn, ledger)
        return 0 if moved and ledger.behind else await self.rest(conn, found, seen)

    async def advance(self, conn: Connection, ledger: Ledger) -> tuple[bool, Snapshot]:
        """Look; if there are rows, make a tick of them and ship it. Repeating is safe: a tick is made once,
        by its key, and its ids follow from it."""
        began_at = monotonic()
        before = ledger.snapshot
        records = await sql.look(conn, before.xmax, before.xip, TICK_ROWS + 1)
        seen = Snapshot.parse(records[0]["snapshot"])
        if records[0]["id"] is None:
            self.caught_up_at = began_at
            return False, seen
        rows = [row_of(record) for record in records]
        snapshot, solo = bound(before, seen, [row.xid for row in rows], TICK_ROWS)
        rows = [row for row in rows if snapshot.sees(row.xid)]
        tick = await add_tick(conn, ledger, snapshot, rows, solo)
        if tick is None:
            metrics.COLLISIONS.inc()
            log.info("relay.collided", tick=ledger.tick.no + 1 if ledger.tick else 1)
            self.forget()
            return True, seen
        metrics.TICKS.inc()
        metrics.WAKE_UPS.labels(self.cause).inc()
        await self.shipper.ship_tick(conn, ledger, tick, rows)
        self.shipped(rows, began_at, whole=len(records) <= TICK_ROWS)
        return True, seen

    def shipped(self, rows: list[Row], began_at: float, *, whole: bool) -> None:
        for row in rows:
            if row.origin == "producer":
                for channel in row.channels:
                    metrics.CREATED.labels(channel).inc()
        metrics.SHIP_SECONDS.observe(monotonic() - began_at)
        if whole:
            self.caught_up_at = began_at
        log.debug("relay.shipped", rows=len(rows), cause=self.cause)

    async def promote(self, conn: Connection, busy: bool) -> None:
        """Put what is due into the outbox. Asked after every look that found nothing, because whoever
        schedules something while the flag says awake does not notify."""
        if busy and monotonic() - self.due_checked_at < DUE_SECONDS:
            return
        self.due_in = await sql.next_due(conn)
        self.due_checked_at = monotonic()
        if self.due_in is not None and self.due_in <= 0:
            metrics.PROMOTED.inc(await sql.promote_due(conn, PROMOTE))
            self.due_in = 0

    async def verify(self, conn: Connection, ledger: Ledger) -> None:
        """Ask Redis where each stream ends: a loss shows even where nothing new is appended."""
        if monotonic() - self.verified_at < self.settings.relay_verify:
            return
        self.verified_at = monotonic()
        names = [*ledger.tops, *(stream for stream in ledger.behind if stream not in ledger.tops)]
        states = await asyncio.gather(*map(self.shipper.streams.state, names))
        for stream, state in zip(names, states, strict=True):
            self.shipper.lengths[stream] = state.length
            metrics.QUEUE_LENGTH.labels(stream).set(state.length)
            expected = ledger.top(stream)
            if stream in ledger.behind:
                continue
            if state.top < expected:
                self.shipper.lost(ledger, stream, expected, state.top)
            elif state.top > expected:
                self.ledger = None  # another relay appended: its ticks tell
        metrics.LAG_SECONDS.set(monotonic() - self.caught_up_at)
        metrics.LAG_ROWS.set(await sql.backlog(conn, ledger.snapshot.xmax, ledger.snapshot.xip))

    async def rest(self, conn: Connection, found: bool, seen: Snapshot) -> float:
        """Tell producers whether to notify, and how long this relay waits if nobody does."""
        now = monotonic()
        if found:
            if self.sleep.found(now):
                await sql.set_flag(conn, AWAKE_FLAG)
            return 0
        if self.ledger is None:
            return 0
        if self.sleep.found_nothing(now, seen):
            await sql.set_flag(conn, ASLEEP_FLAG)
            self.sleep.fell(Snapshot.parse(await sql.snapshot(conn)))
        pause = min(self.sleep.next_pause(), max(self.lead.renew_at - now, 0.001), self.settings.relay_verify)
        if self.due_in is not None:
            pause = min(pause, max(self.due_in, 0))
        return pause

    def check(self) -> str | None:
        """For readiness: what is wrong."""
        if self.lead.epoch is None:
            return None  # a standby is ready to take over
        lag = monotonic() - self.caught_up_at
        limit = self.settings.relay_poll * 2 + self.settings.relay_verify
        if lag > limit:
            return f"committed rows have been waiting for up to {lag:.0f} s"
        if self.ledger and self.ledger.behind:
            return f"full or being refilled: {', '.join(sorted(self.ledger.behind))}"
        return None

    @property
    def mode(self) -> Mode:
        return self.sleep.mode

    async def stop(self) -> None:
        """Let the standby in."""
        if self.conn and not self.conn.is_closed():
            await self.lead.release(self.conn)
            await self.conn.close()
