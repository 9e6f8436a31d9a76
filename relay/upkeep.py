"""The outbox's partitions: made ahead, dropped whole when old and out of every stream. Its ticks go with them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from db import relay as sql
from db import shards
from db.pool import OUTAGES, Connection, connect
from outbox.log import get
from relay import metrics
from relay.relay import Relay

log = get("relay")
EVERY_SECONDS = 5.0
STANDBY_SECONDS = 0.5
EVERY_ID = 2**63


@dataclass(frozen=True, slots=True)
class Partition:
    """Rows with from_id ≤ id < to_id."""

    name: str
    from_id: int
    to_id: int


def wanted(partitions: Sequence[Partition], last_id: int, size: int) -> tuple[int, int] | None:
    """The partition to add so that a whole one is free ahead. Where ids have outrun the last one it begins a
    whole partition further on: Postgres refuses a range of which the default partition holds rows, and that
    one is taking rows at this moment."""
    end = max((partition.to_id for partition in partitions), default=0)
    if end >= last_id + size:
        return None
    begin = end if end > last_id else last_id + size
    return begin, begin + size


def old_ones(
    partitions: Sequence[Partition], newest_at: Iterable[datetime | None], cutoff: datetime, needed_id: int
) -> int:
    """How many partitions at the front may go: past the retention, and below every entry in a stream. One
    without a row (None) has only such as were rolled back, once ids have gone past it."""
    count = 0
    for partition, at in zip(partitions, newest_at, strict=True):
        if (at is not None and at >= cutoff) or partition.to_id > needed_id:
            break
        count += 1
    return count


def rows_ahead(partitions: Sequence[Partition], last_id: int) -> int:
    """How many ids more there is room for; 0 where the default partition is taking rows."""
    return max(max((partition.to_id for partition in partitions), default=0) - 1 - last_id, 0)


class Upkeep:
    """On a connection of its own: a wait for a lock must not hold up the relay."""

    def __init__(self, relay: Relay, url: str, size: int, retention: timedelta) -> None:
        self.relay = relay
        self.url = url
        self.size = size
        self.retention = retention
        self.conn: Connection | None = None
        metrics.PARTITION_ROWS.set(size)

    async def step(self) -> float:
        """One partition ahead, and the old ones away. Only the leader's business."""
        if self.relay.lead.epoch is None:
            return STANDBY_SECONDS
        if self.conn is None or self.conn.is_closed():
            self.conn = await connect(self.url, name="relay-upkeep")
        try:
            return await self.work(self.conn)
        except asyncpg.LockNotAvailableError:
            log.info("relay.partition_waits", reason="producers hold it; the next try comes soon")
            return EVERY_SECONDS
        except OUTAGES:
            self.conn.terminate()
            raise

    async def work(self, conn: Connection) -> float:
        partitions = [Partition(**record) for record in await sql.partitions(conn)]
        last_id = await sql.last_id(conn)
        metrics.PARTITIONS.set(len(partitions))
        metrics.PARTITION_ROWS_AHEAD.set(rows_ahead(partitions, last_id))
        if await self.extend(conn, partitions, last_id):
            return 0
        await self.drop_old(conn, partitions, last_id)
        metrics.UPKEEP_AT.set_to_current_time()
        return EVERY_SECONDS

    async def stop(self) -> None:
        if self.conn is not None:
            await self.conn.close()

    async def extend(self, conn: Connection, partitions: Sequence[Partition], last_id: int) -> bool:
        if (bounds := wanted(partitions, last_id, self.size)) is None:
            return False
        name = await sql.add_partition(conn, *bounds)
        log.info("relay.partition_added", partition=name, from_id=bounds[0], to_id=bounds[1])
        return True

    async def drop_old(self, conn: Connection, partitions: Sequence[Partition], passed: int) -> None:
        """By what the relay was certain of when it last verified the streams. Facts of that kind do not age: what
        was settled stays settled, and a row that came later is not seen by their snapshot."""
        if (facts := self.relay.droppable) is None:
            return
        cutoff = datetime.now(UTC) - self.retention
        full = [partition for partition in partitions if partition.to_id <= passed]
        newest = [await sql.newest_row_at(conn, part.from_id, part.to_id) for part in full]
        metrics.PARTITIONS_EXPIRED.set(old_ones(full, newest, cutoff, EVERY_ID))
        for partition in full[: old_ones(full, newest, cutoff, facts.needed_id)]:
            if not await sql.drop_partition(conn, partition.name, str(facts.ticked)):
                return
            metrics.PARTITIONS_EXPIRED.dec()
            ticks = await sql.delete_ticks(conn, partition.to_id)
            log.info("relay.partition_dropped", partition=partition.name, ticks=ticks)
        await sql.prune_default(conn, cutoff, facts.needed_id, str(facts.ticked))
        if self.relay.ledger:
            await shards.drop_placements(conn, self.relay.ledger.placement.no)
