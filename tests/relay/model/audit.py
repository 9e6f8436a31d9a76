"""What must hold, whatever happens: the promises and invariants of docs/architecture.md, by their names there.

The promises are judged from outside, by envelopes alone; the invariants by what the model knows. Everything is
checked at the moment it could first be broken.
"""

from outbox.streams import Keys
from relay.entries import StreamId
from relay.snapshot import GENESIS, Snapshot, Xid
from tests.relay.model.postgres import FIRST_XID, Postgres, Row, TickRow
from tests.relay.model.redis import OUTSIDE, Entry, Redis, Stream


class BrokenError(AssertionError):
    """A promise or an invariant that does not hold; its name comes first."""


class Audit:
    """`mechanism` is False where only the promises are to be judged."""

    def __init__(self, postgres: Postgres, redis: Redis, keys: Keys, *, mechanism: bool = True) -> None:
        self.postgres, self.redis, self.keys, self.mechanism = postgres, redis, keys, mechanism
        self.rows: dict[int, Row] = {}  # every committed row, those of dropped partitions, too
        self.first_ids: dict[tuple[str, int], StreamId] = {}
        self.tick_of: dict[int, TickRow] = {}  # by row
        self.last: TickRow | None = None
        self.written_off: set[tuple[int, str]] = set()  # somebody threw the entry away, unsettled
        postgres.on_tick, postgres.on_drop, redis.on_add = self.tick_made, self.rows_dropped, self.entry_added

    def demand(self, name: str, holds: bool, what: str) -> None:
        if not holds and (self.mechanism or name.startswith("P")):
            raise BrokenError(f"{name}: {what}")

    # What should be where

    def streams_of(self, row: Row) -> list[str]:
        """By the tick that made it part of the log, whatever channels want now."""
        tick = self.tick_of.get(row.id)
        shards = {channel: tick.shards.get(channel, 1) if tick else 1 for channel in row.channels}
        return [self.keys.stream(each, row.priority, row.shard(shards[each])) for each in row.channels]

    def readable(self, stream: str) -> bool:
        """Whether those who go by notify.shards know of it."""
        place = self.keys.place(stream)
        return place.shard < max(self.postgres.shards[place.channel], *self.postgres.placed(place.channel), 1)

    def elsewhere(self, row: Row, stream: str) -> list[str]:
        """Streams of other shards of this channel which have it, too."""
        kin = self.keys.place(stream)[:2]
        others = (name for name in self.redis.streams if name != stream and self.keys.place(name)[:2] == kin)
        return [name for name in others if row.id in [each for _, each in self.redis.get(name).log]]

    def settled(self, row: Row, stream: str) -> bool:
        return (row.id, self.keys.place(stream).channel) in self.postgres.settled

    def wanted(self, stream: str) -> list[Row]:
        """Committed, of this stream, and not settled."""
        rows = self.rows.values()
        return [row for row in rows if stream in self.streams_of(row) and not self.settled(row, stream)]

    # When something happens

    def committed(self, rows: list[Row]) -> None:
        self.rows |= {row.id: row for row in rows}

    def tick_made(self, tick: TickRow) -> None:
        before = self.last.snapshot if self.last else GENESIS
        no, ms = (self.last.no, self.last.ms) if self.last else (0, 0)
        self.demand(
            "I2", tick.no == no + 1 and tick.ms > ms, f"tick {tick.no} of {tick.ms} ms after {no} of {ms} ms"
        )
        xids = range(FIRST_XID, self.postgres.next_xid)
        self.demand(
            "I2", all(tick.snapshot.sees(Xid(x)) for x in xids if before.sees(Xid(x))), "a tick shrank"
        )
        running = [x for x in self.postgres.running if tick.snapshot.sees(Xid(x))]
        self.demand("I2", not running, f"tick {tick.no} sees {running}, which run")
        if self.last:
            self.demand_whole(self.last, tick.behind)
        for row in self.rows.values():
            if tick.snapshot.sees(Xid(row.xid)) and not before.sees(Xid(row.xid)):
                self.tick_of[row.id] = tick
        self.last = tick

    def demand_whole(self, tick: TickRow, behind: frozenset[str]) -> None:
        """Every row of it has been in each of its streams, but for those the next tick calls behind."""
        for row in self.rows.values():
            if self.tick_of.get(row.id) is not tick:
                continue
            for stream in self.streams_of(row):
                there = (stream, row.id) in self.first_ids or self.settled(row, stream)
                known = self.keys.lane(stream) in behind
                self.demand("I3", there or known, f"row {row.id} of tick {tick.no} was never in {stream}")

    def entry_added(self, stream: str, before: Stream, entry: Entry) -> None:
        entry_id, number = entry
        row = self.rows.get(number)
        if row is None:
            raise BrokenError(f"P1: row {number} is in {stream} and not committed")
        tick = self.tick_of.get(row.id)
        self.demand("I1", tick is not None, f"row {row.id} was appended before its tick was made")
        self.demand(
            "I1", tick is None or entry_id == (tick.ms, row.id), f"row {row.id} went in as {entry_id}"
        )
        self.demand("I4", entry_id > before.top, f"{entry_id} behind {before.top} in {stream}")
        if entry_id <= before.top:
            return  # Redis refuses it: nothing is in the stream that a promise could speak of
        self.written_off.discard((row.id, stream))
        first = self.first_ids.setdefault((stream, row.id), entry_id)
        self.demand("P3", entry_id == first, f"row {row.id} of {stream} was {first} and is {entry_id} now")
        there = [self.rows[each] for _, each in before.log if each != OUTSIDE]
        self.demand("P2", row not in there, f"row {row.id} is in {stream} twice")
        self.demand("I8", self.readable(stream), f"row {row.id} comes into {stream}, which nobody reads")
        others = self.elsewhere(row, stream)
        self.demand("P2", not others, f"row {row.id} comes into {stream} and is in {others} already")
        self.demand("P2", stream in self.streams_of(row), f"row {row.id} does not belong into {stream}")
        later = [r.id for r in there if r.connection == row.connection and r.serial > row.serial]
        self.demand("P4", not later, f"row {row.id} comes after {later} of its own connection in {stream}")

    def rows_dropped(self, rows: list[Row], ticked: Snapshot) -> None:
        for row in rows:
            self.demand("I7", row.id in self.tick_of, f"row {row.id} was dropped and is in no tick")
            for stream in self.streams_of(row):
                kept = self.settled(row, stream) or (row.id, stream) in self.written_off
                self.demand(
                    "P2", kept, f"row {row.id} was dropped and not settled in {stream} (I7, {ticked})"
                )

    # At any moment, and at rest

    def holds(self) -> None:
        """I5: what a stream holds up to its end is everything up to there, less what was settled."""
        for name, stream in self.redis.streams.items():
            if not stream.usable or any(row == OUTSIDE for _, row in stream.log):
                continue
            self.demand("I8", not stream.entries or self.readable(name), f"nobody reads {name}")
            there = {row for _, row in stream.log}
            for row in self.wanted(name):
                tick = self.tick_of.get(row.id)
                due = tick is not None and (tick.ms, row.id) <= stream.top
                self.demand(
                    "I5", not due or row.id in there, f"{name} ends at {stream.top} without row {row.id}"
                )

    def at_rest(self) -> None:
        """Every open row exactly once in each of its streams."""
        for name in {stream for row in self.rows.values() for stream in self.streams_of(row)}:
            there = [row for _, row in self.redis.get(name).log]
            missing = [row.id for row in self.wanted(name) if row.id not in there]
            self.demand("P2", not missing, f"{name} lacks {missing}")
