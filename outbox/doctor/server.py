"""PostgreSQL as a server: its version, what it promises to keep, and what holds it back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asyncpg import Record

from db import doctor as sql
from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, note, ok, warn
from outbox.doctor.words import size, span
from outbox.settings import Settings

# The first minor releases in which VACUUM FREEZE cannot break the notification queue (2025-11-13).
GOOD_MINORS = {15: 15, 16: 11, 17: 7, 18: 1}
OLDEST = 15  # that the tests run on
LONG_SECONDS = 300.0
KEPT_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Server:
    facts: Record
    settings: Settings


async def server(desk: Desk) -> Server:
    return Server(await desk.ask(sql.server), desk.settings)


def judge_server(seen: Server) -> Iterator[Finding]:
    facts = seen.facts
    yield version(facts["version"], facts["version_text"])
    if facts["in_recovery"]:
        yield fail(
            "postgres.primary",
            "this is a standby: nothing can be written, and the relay must read the primary",
            "let DATABASE_URL name the primary (target_session_attrs=read-write)",
        )
    yield from durability(facts)
    if not facts["checksums"]:
        yield note(
            "postgres.checksums", "no data checksums: a rotten page is not noticed", "pg_checksums --enable"
        )
    if seen.settings.env == "production" and not facts["encrypted"]:
        yield warn(
            "postgres.tls",
            "the connection is not encrypted",
            "DATABASE_URL=…?sslmode=verify-full, unless the way to Postgres is private",
        )


def version(number: int, text: str) -> Finding:
    major, minor = divmod(number, 10_000)
    if major < OLDEST:
        return fail(
            "postgres.version",
            f"PostgreSQL {text} is not supported",
            f"upgrade to PostgreSQL {OLDEST} or later",
        )
    if minor < GOOD_MINORS.get(major, 0):
        return warn(
            "postgres.version",
            f"PostgreSQL {text}: VACUUM FREEZE can break its notification queue",
            f"update to {major}.{GOOD_MINORS[major]} or later",
        )
    return ok("postgres.version", f"PostgreSQL {text}")


def durability(facts: Record) -> Iterator[Finding]:
    """A commit that was answered must outlive a crash: everything else is built on that."""
    off = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if not facts[name]]
    for name in off:
        yield fail(
            "postgres.durability",
            f"{name} is off: a crash loses what was promised",
            f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf(); and look for ALTER ROLE … SET {name}",
        )
    if not off:
        yield ok("postgres.durability", "what is committed outlives a crash")
    if not (facts["autovacuum"] and facts["track_counts"]):
        yield fail(
            "postgres.autovacuum",
            "autovacuum is off: tables grow and Postgres will stop taking writes",
            "ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf();",
        )


async def connections(desk: Desk) -> Record:
    return await desk.ask(sql.connections)


def judge_connections(facts: Record) -> Iterator[Finding]:
    used, most = facts["used"], facts["most"]
    what = f"{used} of {most} connections are used, {facts['ours']} by outbox"
    if used > 0.8 * most:
        yield warn(
            "postgres.connections",
            what,
            "raise max_connections, or put PgBouncer before it (docs/day-two.md, Poolers)",
        )
    else:
        yield ok("postgres.connections", what)


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds back vacuum. `sees_all`: whether this login is told of others."""

    long: Sequence[Record]
    prepared: Sequence[Record]
    sees_all: bool


async def holders(desk: Desk) -> Holders:
    async with desk.pool.acquire() as conn:
        return Holders(
            await sql.long_transactions(conn, LONG_SECONDS),
            await sql.prepared(conn, LONG_SECONDS),
            await sql.sees_all(conn),
        )


def judge_holders(seen: Holders) -> Iterator[Finding]:
    for row in seen.long:
        yield warn(
            "postgres.long_transaction",
            f"pid {row['pid']} ({row['usename']}, {row['application_name'] or 'no name'}, {row['state']}) has had a "
            f"transaction open for {span(row['seconds'])}: vacuum waits for it",
            f"SELECT pg_terminate_backend({row['pid']}), and set idle_in_transaction_session_timeout",
        )
    for row in seen.prepared:
        yield warn(
            "postgres.prepared",
            f"the prepared transaction {row['gid']!r} has been waiting for {span(row['seconds'])}",
            f"COMMIT PREPARED '{row['gid']}' or ROLLBACK PREPARED '{row['gid']}'",
        )
    if not seen.sees_all:
        yield note(
            "postgres.sees_all",
            "this login is not told how long others' transactions have been open",
            "GRANT pg_read_all_stats TO the service's login",
        )
    elif not (seen.long or seen.prepared):
        yield ok("postgres.long_transaction", "no transaction is older than five minutes")


async def slots(desk: Desk) -> list[Record]:
    return await desk.ask(sql.slots)


def judge_slots(rows: Sequence[Record]) -> Iterator[Finding]:
    for row in rows:
        slot, behind, status = row["slot_name"], size(row["bytes"]), row["wal_status"]
        drop = f"SELECT pg_drop_replication_slot('{slot}')"
        if status == "lost":
            yield warn(
                "postgres.slots",
                f"replication slot {slot!r} is lost: what its consumer has not read is gone",
                f"{drop}, and set the consumer up anew",
            )
        elif status == "unreserved":
            yield warn(
                "postgres.slots",
                f"replication slot {slot!r} lies {behind} behind and is lost with the next checkpoint",
                "let its consumer catch up, or raise max_slot_wal_keep_size",
            )
        elif row["bytes"] > KEPT_BYTES and not row["active"]:
            yield warn(
                "postgres.slots",
                f"replication slot {slot!r} has no consumer and keeps {behind} of WAL on the disk",
                f"start its consumer, or {drop}",
            )


AREA = Area(
    "postgres",
    frozenset({"postgres"}),
    (
        Check("postgres.server", server, judge_server),
        Check("postgres.connections", connections, judge_connections),
        Check("postgres.holders", holders, judge_holders),
        Check("postgres.slots", slots, judge_slots),
    ),
)
