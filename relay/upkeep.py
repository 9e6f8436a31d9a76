"""The outbox's partitions: made ahead, dropped whole when old and out of every stream. Its ticks go with them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from db import relay as sql
from db.pool import OUTAGES, Connection, connect
from outbox.log import get
from relay import metrics
from relay.relay import Relay

log = get("relay")
EVERY_SECONDS = 5.0
STANDBY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Partition:
    """Rows with from_id ≤ id < to_id."""

    name: str
    from_id: int
    to_id: int


def wanted(partitions: Sequence[Partition], last_id: int, stray_id: int, size: int) -> tuple[int, int] | None:
    """The partition to add so that a whole one is free ahead. It begins behind any row that fell into the
    default partition: Postgres refuses a range of which the default one holds rows."""
    end = max((partition.to_id for partition in partitions), default=0)
    if end >= last_id + size:
        return None
    begin = max(end, stray_id + 1 if stray_id else 0)
    return begin, begin + size


def oldest_kept(
    partitions: Sequence[Partition], newest_at: Iterable[datetime | None], cutoff: datetime, needed_id: int
) -> int:
    """How many partitions at the front may go: past the retention, and below every entry still in a stream."""
    count = 0
    for partition, at in zip(partitions, newest_at, strict=True):
        if at is None or at >= cutoff or partition.to_id > needed_id:
            break
        count += 1
    return count


class Upkeep:
    """On a connection of its own: a wait for a lock must not hold up the relay."""

    def __init__(self, relay: Relay, url: str, size: int, retention: timedelta) -> None:
        self.relay = relay
        self.url = url
        self.size = size
        self.retention = retention
        self.conn: Connection | None = None

    async def step(self) -> float:
        """One partition ahead, and the old ones away. Only the leader's business."""
        if self.relay.lead.epoch is None:
            return STANDBY_SECONDS
        if self.conn is None or self.conn.is_closed():
            self.conn = await connect(self.url, name="relay-upkeep")
        try:
            return await self.work(self.conn)
        except OUTAGES:
            self.conn.terminate()
            raise

    async def work(self, conn: Connection) -> float:
        partitions = [Partition(**record) for record in await sql.partitions(conn)]
        metrics.PARTITIONS.set(len(partitions))
        if await self.extend(conn, partitions):
            return 0
        await self.drop_old(conn, partitions)
        return EVERY_SECONDS

    async def stop(self) -> None:
        if self.conn is not None:
            await self.conn.close()

    async def extend(self, conn: Connection, partitions: Sequence[Partition]) -> bool:
        last, stray = await sql.highest_id(conn)
        if (bounds := wanted(partitions, last, stray, self.size)) is None:
            return False
        name = await sql.add_partition(conn, *bounds)
        log.info("relay.partition_added", partition=name, from_id=bounds[0], to_id=bounds[1])
        return True

    async def drop_old(self, conn: Connection, partitions: Sequence[Partition]) -> None:
        ledger = self.relay.ledger
        if ledger is None or ledger.behind:
            return  # a refill may need any of them
        newest = [await sql.newest_row_at(conn, part.from_id, part.to_id) for part in partitions[:-1]]
        cutoff = datetime.now(UTC) - self.retention
        count = oldest_kept(partitions[:-1], newest, cutoff, await self.needed_id(list(ledger.tops)))
        for partition in partitions[:count]:
            await sql.drop_partition(conn, partition.name)
            ticks = await sql.delete_ticks(conn, partition.to_id)
            log.info("relay.partition_dropped", partition=partition.name, ticks=ticks)

    async def needed_id(self, streams: Sequence[str]) -> int:
        """The lowest outbox id that an entry still in a stream came from."""
        states = [await self.relay.shipper.streams.state(stream) for stream in streams]
        return min((state.first.row for state in states if state.first), default=2**63 - 1)
