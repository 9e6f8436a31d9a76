"""The outbox's log: whose history it is, and whether its partitions are ahead, gone in time, and of a fitting size."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from db import doctor as sql
from db import rebase
from db import relay as relay_sql
from db.pool import Executor
from db.rebase import History
from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, note, ok, warn
from outbox.doctor.words import size, span

MANY_PARTITIONS = 300
SMALL = timedelta(minutes=10)
LATE = timedelta(hours=1)  # beyond the retention, before somebody should look


@dataclass(frozen=True, slots=True)
class Filled:
    """A partition that ids have gone past: when its first and its last row were written (None: it has none)."""

    bytes: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Log:
    """`drawn`: the last id given out; `end`: where the last partition ends. Seconds, bytes and rows as such."""

    count: int
    bytes: int
    drawn: int
    end: int
    default_rows: int
    oldest: Filled | None
    newest: Filled | None
    rows_a_partition: int
    retention: timedelta
    now: datetime


async def log(desk: Desk) -> Log:
    async with desk.pool.acquire() as conn:
        sizes = await sql.sizes(conn)
        bounds = [(row["name"], row["from_id"], row["to_id"]) for row in await relay_sql.partitions(conn)]
        drawn = await relay_sql.last_id(conn)
        full = [bound for bound in bounds if bound[2] <= drawn]
        return Log(
            count=len(bounds),
            bytes=sum(sizes.values()),
            drawn=drawn,
            end=max((to_id for _, _, to_id in bounds), default=0),
            default_rows=await sql.default_rows(conn),
            oldest=await filled(conn, sizes, full[0]) if full else None,
            newest=await filled(conn, sizes, full[-1]) if full else None,
            rows_a_partition=desk.settings.partition_rows,
            retention=desk.settings.retention,
            now=datetime.now(UTC),
        )


async def filled(conn: Executor, sizes: dict[str, int], bound: tuple[str, int, int]) -> Filled:
    name, from_id, to_id = bound
    return Filled(sizes.get(name, 0), *await sql.span(conn, from_id, to_id))


def judge_log(seen: Log) -> Iterator[Finding]:
    yield ahead(seen)
    if seen.default_rows:
        yield warn(
            "log.default",
            f"{seen.default_rows:,}{' or more' if seen.default_rows >= 10_000 else ''} rows are in outbox_default: "
            "partitions were not made in time",
            "is a relay leading? They are relayed all the same, and go after OUTBOX_RETENTION",
        )
    yield from gone_in_time(seen)
    yield from sizing(seen)


def ahead(seen: Log) -> Finding:
    free = seen.end - seen.drawn
    if free <= 0:
        return fail(
            "log.ahead",
            "no partition is ahead: new rows go into outbox_default",
            "start a relay: outbox relay",
        )
    if free < seen.rows_a_partition // 2:
        return warn(
            "log.ahead", f"only {free:,} ids are left in partitions made ahead", "start a relay: outbox relay"
        )
    return ok("log.ahead", f"{seen.count} partitions, {size(seen.bytes)}; {free:,} ids ahead")


def gone_in_time(seen: Log) -> Iterator[Finding]:
    """The relay drops a partition once it is past the retention and out of every stream."""
    at = seen.oldest.last_at if seen.oldest else None
    if at is not None and seen.now - at > seen.retention + LATE:
        yield warn(
            "log.behind",
            f"the oldest partition's last row is {span((seen.now - at).total_seconds())} old, and "
            f"OUTBOX_RETENTION is {span(seen.retention.total_seconds())}",
            "an entry that old is still in a stream, or no relay leads: outbox status; outbox relay",
        )


def sizing(seen: Log) -> Iterator[Finding]:
    """A partition goes as a whole: what takes longer than the retention to fill is kept for longer than that."""
    part = seen.newest
    if part is None or part.first_at is None or part.last_at is None:
        return
    took = part.last_at - part.first_at
    if took > seen.retention:
        yield note(
            "log.size",
            f"a partition takes {span(took.total_seconds())} to fill, longer than OUTBOX_RETENTION: rows stay as long",
            f"OUTBOX_PARTITION_ROWS={fitting(seen, took)}",
        )
    elif took < SMALL and seen.count > MANY_PARTITIONS:
        yield warn(
            "log.size",
            f"a partition fills in {span(took.total_seconds())}, and there are {seen.count}: planning gets slower",
            f"OUTBOX_PARTITION_ROWS={fitting(seen, took)}",
        )
    else:
        yield ok(
            "log.size", f"a partition fills in {span(took.total_seconds())} and holds {size(part.bytes)}"
        )


def fitting(seen: Log, took: timedelta) -> int:
    """So many rows that about twelve partitions span the retention; in whole 100,000."""
    rate = seen.rows_a_partition / max(took.total_seconds(), 1)
    return max(100_000, round(rate * seen.retention.total_seconds() / 12 / 100_000) * 100_000)


async def history(desk: Desk) -> History:
    return await desk.ask(rebase.history)


def judge_history(seen: History) -> Iterator[Finding]:
    if seen.foreign:
        yield fail(
            "log.history",
            f"this log was copied from another cluster: {seen.foreign}",
            "stop all producers and relays, then: outbox relay rebase",
        )
    else:
        yield ok("log.history", "the log was written in this cluster")


AREA = Area(
    "log",
    frozenset({"postgres"}),
    (Check("log.partitions", log, judge_log), Check("log.history", history, judge_history)),
)
