"""The schema in Postgres: its revision, its indexes, and whether vacuum keeps up with its tables."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alembic.script import ScriptDirectory
from asyncpg import Record

from db import doctor as sql
from db import migrations, status
from outbox.doctor import kept
from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, ok, warn

QUEUE_WARN, QUEUE_FAIL = 0.1, 0.5
NEAR_WRAPAROUND = 1_000_000_000
DEAD_ROWS, DEAD_SHARE = 100_000, 0.4


@dataclass(frozen=True, slots=True)
class Revision:
    """`known`: the revisions of this code, oldest first."""

    now: str | None
    known: tuple[str, ...]
    half_built: Sequence[str]


async def revision(desk: Desk) -> Revision:
    known = await asyncio.to_thread(revisions)
    async with desk.pool.acquire() as conn:
        return Revision(await status.revision(conn), known, await sql.half_built(conn))


def revisions() -> tuple[str, ...]:
    script = ScriptDirectory.from_config(migrations.config())
    return tuple(reversed([each.revision for each in script.walk_revisions()]))


def judge_revision(seen: Revision) -> Iterator[Finding]:
    head = seen.known[-1]
    if seen.now == head:
        yield ok("schema.revision", f"revision {head}, as this code wants it")
    elif seen.now in {None, *seen.known}:
        yield fail(
            "schema.revision", f"revision {seen.now or 'none'}, and this code wants {head}", "outbox migrate"
        )
    else:
        yield warn(
            "schema.revision",
            f"revision {seen.now} is newer than this code's {head}",
            "fine while a release is rolled out; otherwise update this process",
        )
    for name in seen.half_built:
        yield warn("schema.indexes", f"the index {name} was left half built", "outbox migrate builds it anew")


async def queue(desk: Desk) -> float:
    return await desk.ask(sql.notification_queue)


def judge_queue(usage: float) -> Iterator[Finding]:
    what = f"the notification queue is {usage:.0%} full"
    advice = (
        "end who listens in an open transaction: SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in%'"
    )
    if usage >= QUEUE_FAIL:
        yield fail("postgres.notification_queue", f"{what}: when it is full, producers' commits fail", advice)
    elif usage >= QUEUE_WARN:
        yield warn("postgres.notification_queue", what, advice)
    else:
        yield ok("postgres.notification_queue", what)


@dataclass(frozen=True, slots=True)
class Vacuum:
    bloat: Sequence[Record]
    wraparound: Record


async def vacuum(desk: Desk) -> Vacuum:
    async with desk.pool.acquire() as conn:
        return Vacuum(await sql.bloat(conn), await sql.wraparound(conn))


def judge_vacuum(seen: Vacuum) -> Iterator[Finding]:
    found = list(bloated(seen.bloat))
    age = seen.wraparound["age"]
    if age > NEAR_WRAPAROUND:
        found.append(
            fail(
                "schema.wraparound",
                f"the oldest transaction id lies {age:,} back; at 2,000,000,000 Postgres stops taking writes",
                "VACUUM FREEZE, and end what holds it back: old transactions, prepared ones, replication slots",
            )
        )
    yield from found or [ok("schema.vacuum", "vacuum keeps up with every table")]


def bloated(rows: Sequence[Record]) -> Iterator[Finding]:
    for row in rows:
        if row["off"]:
            yield warn(
                "schema.vacuum",
                f"autovacuum is switched off for notify.{row['name']}",
                f"ALTER TABLE notify.{row['name']} RESET (autovacuum_enabled)",
            )
        if row["dead"] > DEAD_ROWS and row["dead"] > DEAD_SHARE * (row["live"] + row["dead"]):
            yield warn(
                "schema.vacuum",
                f"notify.{row['name']} has {row['dead']:,} dead rows beside {row['live']:,}",
                f"VACUUM notify.{row['name']}; then see what held autovacuum back: old transactions, or its settings",
            )


AREA = Area(
    "schema",
    frozenset({"postgres"}),
    (
        Check("schema.revision", revision, judge_revision),
        Check("postgres.notification_queue", queue, judge_queue),
        Check("schema.vacuum", vacuum, judge_vacuum),
        kept.CHECK,
    ),
)
