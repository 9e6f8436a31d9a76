"""One step of the relay: finish the tick in doubt → look → tick → ship → catch up → promote what is due → rest."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from db import relay as sql
from db.pool import OUTAGES, Connection, connect
from outbox.log import get
from outbox.settings import Settings
from relay import metrics, traced
from relay.catch_up import catch_up, disown
from relay.entries import Tick, by_stream
from relay.lead import Lead
from relay.ledger import AnotherHistoryError, Ledger, add_tick, load
from relay.look import Created, Look, look
from relay.placement import next_placement, note_shards
from relay.quick import QUICK_ROWS, Made, look_and_tick
from relay.reshard import heed
from relay.ship import Blocks, Job, Shipper, count_created, finished
from relay.snapshot import Snapshot, Xid
from relay.verify import Droppable, verify
from relay.wake import ASLEEP_FLAG, AWAKE_FLAG, Mode, Sleep

log = get("relay")
PROMOTE = 1000  # scheduled rows a transaction
DUE_SECONDS = 0.05  # how late a busy relay may notice that something is due

# The relay's statements go by index alone. A partition made a moment ago has no statistics, and without
# them the planner would rather sort a backlog whole than read its first page in order.
# So the plan is the same whatever is asked for, and made once: Postgres would make one for each look that is
# likely to find nothing, which takes longer than the look. And what a look finds is kept twice on the way, for the cut
# and by blocks: both times in memory.
BY_INDEX = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "work_mem": "32MB",
}


class Found(NamedTuple):
    """What a look has found, ready to be made a tick of."""

    look: Look
    streams: Blocks


@dataclass(slots=True)
class Relay:
    """Moves what is committed into the streams. All its memory can be lost at any moment: `ledger` comes
    back from Postgres, the streams' ends from Redis."""

    settings: Settings
    shipper: Shipper
    lead: Lead
    sleep: Sleep
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # a step, or a verification
    conn: Connection | None = None
    conn_lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # one statement at a time
    ledger: Ledger | None = None
    # What the last look saw that found nothing: the next one need not go through that again, nor through what a
    # transaction that was open then has written, until it ends.
    seen: Snapshot | None = None
    ahead: Found | None = None  # what is behind the last tick, looked for while that was being appended
    few: bool = True  # whether the last look found no more than one statement can make a tick of
    droppable: Droppable | None = None
    cause: str = "start"
    waiting_since: float | None = None  # for how long rows may have been waiting
    trouble: str | None = None
    due_checked_at: float = 0.0
    due_in: float | None = None

    async def step(self) -> float:
        """Seconds until the next one is wanted; a wake-up may come before."""
        async with self.lock:
            self.waiting_since = self.waiting_since or monotonic()
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
            self.conn = await connect(self.settings.own_database, name="relay", **BY_INDEX)
        return self.conn

    def forget(self) -> None:
        self.ledger = self.ahead = self.seen = self.droppable = None
        self.sleep.forget()

    async def work(self, conn: Connection) -> float:
        epoch = self.lead.epoch
        if not await self.lead.held(conn):
            self.forget()
            self.waiting_since = None
            metrics.stand_by()
            return self.lead.interval
        if self.ledger is None or self.ledger.stale or self.lead.epoch != epoch:
            self.ledger = await self.loaded(conn)
        ledger = self.ledger
        if ledger.in_doubt and ledger.tick:
            await self.shipper.ship_tick(Job(conn, self.conn_lock, ledger, ledger.tick), None)
        made = await self.advance(conn, ledger)
        if ledger.stale:
            return 0  # another relay was here: see what it did
        moved = await catch_up(conn, self.shipper, ledger)
        await self.promote(conn, busy=made.found)
        return 0 if moved and ledger.behind else await self.rest(conn, made)

    async def loaded(self, conn: Connection) -> Ledger:
        self.forget()
        try:
            ledger = await load(conn, self.settings.keys)
        except AnotherHistoryError as error:
            self.trouble = str(error)
            raise
        self.trouble = None
        ledger.placement, channels = await next_placement(conn)
        await disown(conn, self.shipper, ledger, channels)
        note_shards(channels)
        for stream in ledger.behind:
            metrics.BEHIND.labels(stream).set(1)
        return ledger

    async def advance(self, conn: Connection, ledger: Ledger) -> Made:
        """Look; if there are rows, make a tick of them and ship it. Repeating is safe: a tick is made once,
        by its key, and its ids follow from it."""
        began_at, began = monotonic(), traced.now()
        made = await self.quickly(conn, ledger) or await self.at_length(conn, ledger)
        self.seen = None if made.found else made.seen
        if made.tick:
            await self.ship(
                Job(conn, self.conn_lock, ledger, made.tick), made.streams, more=not made.all_read
            )
            self.shipped(made.tick, made.created, began_at)
            if began:
                taken = {key: made.streams[key] for key in made.streams if key not in ledger.behind}
                traced.shipped(made.tick, taken, self.cause, began)
        elif made.found:
            metrics.COLLISIONS.inc()
            log.info("relay.collided", tick=ledger.tick.no + 1 if ledger.tick else 1)
            ledger.stale = True
            return made
        if made.all_read:
            self.waiting_since = None
        return made

    async def quickly(self, conn: Connection, ledger: Ledger) -> Made | None:
        """Where few rows are to be expected: a relay at rest saves two round trips."""
        if self.ahead or not self.few:
            return None
        made = await look_and_tick(conn, ledger, self.settings.keys, self.seen or ledger.snapshot)
        self.few = made is not None
        return made

    async def at_length(self, conn: Connection, ledger: Ledger) -> Made:
        looked, streams = self.ahead or await self.look(conn, ledger, self.seen or ledger.snapshot)
        self.ahead = None
        self.few = looked.all_read and looked.rows <= QUICK_ROWS
        if looked.part is None:
            return Made(looked.seen, False, True, None, {}, {})
        self.refuse_foreign(looked)
        tick = await add_tick(conn, ledger, self.settings.keys, looked.part)
        return Made(looked.seen, True, looked.all_read, tick, looked.created, streams)

    async def look(self, conn: Connection, ledger: Ledger, base: Snapshot) -> Found:
        """`base` sees what ticks hold, and no row more."""
        looked = await look(conn, base, ledger.floor.prove(base), ledger.placement.slots)
        blocks = looked.part.blocks if looked.part else []
        return Found(looked, by_stream(blocks, self.settings.keys, ledger.placement))

    async def ship(self, job: Job, streams: Blocks, *, more: bool) -> None:
        """The tick into the streams; where there is more, Postgres reads it meanwhile. What it finds becomes a tick
        only when this one is whole (I3), for both are waited for, even where one fails."""
        shipping = self.shipper.ship_tick(job, streams)
        if not more or job.tick.solo is not None:  # which is read page by page, on this connection
            await shipping
            return
        self.ahead, _ = await finished(self.look_ahead(job), shipping)

    async def look_ahead(self, job: Job) -> Found:
        async with self.conn_lock:
            return await self.look(job.conn, job.ledger, job.tick.snapshot)

    def refuse_foreign(self, looked: Look) -> None:
        """Rows of transactions that have not begun yet were copied from another database."""
        if looked.newest >= looked.seen.xmax:
            self.trouble = (
                "the outbox holds rows whose transaction ids this database has not reached: they were copied from "
                "another one. Stop all relays, then run: outbox relay rebase"
            )
            raise AnotherHistoryError(self.trouble)

    def shipped(self, tick: Tick, created: Created, began_at: float) -> None:
        metrics.TICKS.inc()
        metrics.WAKE_UPS.labels(self.cause).inc()
        count_created(created)
        metrics.SHIP_SECONDS.observe(monotonic() - began_at)
        log.debug("relay.shipped", tick=tick.no, rows=tick.rows, cause=self.cause)

    async def promote(self, conn: Connection, *, busy: bool) -> None:
        """Put what is due into the outbox. Asked after every look that found nothing, because whoever
        schedules something while the flag says awake does not notify."""
        if busy and monotonic() - self.due_checked_at < DUE_SECONDS:
            return
        self.due_in = await sql.next_due(conn)
        self.due_checked_at = monotonic()
        if self.due_in is not None and self.due_in <= 0:
            promoted = await sql.promote_due(conn, PROMOTE)
            metrics.PROMOTED.inc(promoted)
            # Nothing: somebody has the row locked, to cancel it perhaps.
            self.due_in = 0 if promoted else DUE_SECONDS

    async def verify(self) -> bool:
        """Ask Redis where each stream ends. Whether there is something to mend."""
        async with self.lock:
            self.droppable = None
            if self.ledger is None or self.conn is None or self.conn.is_closed():
                return False
            ledger = self.ledger
            base = self.seen or ledger.snapshot  # before Redis is asked: the rows wait while that is away
            rows = await sql.backlog(self.conn, base.xmax, base.xip, ledger.floor.prove(base))
            metrics.LAG_ROWS.set(rows)
            self.droppable = await verify(self.conn, self.shipper, ledger)
            await self.note_drawn(self.conn, ledger)
            await heed(self.conn, self.shipper, ledger)
            return bool(ledger.stale or ledger.behind)

    async def note_drawn(self, conn: Connection, ledger: Ledger) -> None:
        """In this order: the id that was drawn last, then a transaction id above all that have drawn up to it."""
        if ledger.floor.below is None and (drawn := await sql.last_id(conn)) > ledger.floor.id:
            ledger.floor.note(drawn, Xid(await sql.new_xid(conn)))

    async def rest(self, conn: Connection, made: Made) -> float:
        """Tell producers whether to notify, and how long this relay waits if nobody does."""
        now = monotonic()
        if made.found:
            if self.sleep.found(now):
                await sql.set_flag(conn, AWAKE_FLAG)
            if not made.all_read:
                return 0
        elif self.sleep.found_nothing(now, made.seen):
            await sql.set_flag(conn, ASLEEP_FLAG)
            self.sleep.fell(Xid(await sql.new_xid(conn)))
        pause = min(self.sleep.next_pause(), max(self.lead.renew_at - now, 0.001))
        if self.due_in is not None and not made.found:  # else it is asked after the next look
            pause = min(pause, max(self.due_in, 0))
        return pause

    def lag(self) -> float:
        """For how many seconds committed rows may have been waiting."""
        return monotonic() - self.waiting_since if self.waiting_since is not None else 0.0

    def check(self) -> str | None:
        """For readiness: what is wrong."""
        if self.trouble or self.lead.epoch is None:
            return self.trouble  # a standby is ready to take over
        if self.lag() > self.settings.relay_lease:
            return f"committed rows have been waiting for up to {self.lag():.0f} s"
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
