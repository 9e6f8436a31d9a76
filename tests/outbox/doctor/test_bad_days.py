"""What the doctor says on days that a test's own servers never have: slots left alone, clocks apart, certificates that
end, transaction ids that run out."""

import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from db import doctor as sql
from outbox.doctor import clocks, dates, server, tables
from outbox.doctor.finding import Finding, Level
from outbox.local.doubles.http2 import Certificate
from outbox.local.servers import Embedded
from tests import servers
from tests.outbox.certificates import showing

SEGMENT = "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000)), pg_switch_wal()"
MANY = 40


@pytest.fixture
def roomless() -> Iterator[str]:
    """A Postgres that keeps next to nothing for its slots: the superuser's URL."""
    with tempfile.TemporaryDirectory(prefix="outbox-slots-", dir=servers.memory()) as folder:
        Path(folder).chmod(0o755)  # an unprivileged Postgres must get in when the tests run as root
        # And takes no checkpoint by itself, with which the slot would be lost before anybody looks.
        small = {"max_slot_wal_keep_size": "32MB", "max_wal_size": "4GB", "checkpoint_timeout": "1h"}
        redis = os.environ[servers.REDIS_URL]
        with Embedded(folder, throwaway=True, redis_url=redis, postgres=small) as embedded:
            yield embedded.admin_url


async def told_of_slots(conn: asyncpg.Connection) -> list[Finding]:
    return list(server.judge_slots(await sql.slots(conn)))


async def test_a_slot_without_a_consumer_until_it_is_lost(
    roomless: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = await asyncpg.connect(roomless)
    try:
        await conn.execute("SELECT pg_create_physical_replication_slot('unused')")
        await conn.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
        assert await told_of_slots(conn) == []

        monkeypatch.setattr(server, "KEPT_BYTES", 1_000_000)
        await conn.execute(SEGMENT)
        [found] = await told_of_slots(conn)
        assert "'forgotten' has no consumer and keeps " in found.what
        assert "pg_drop_replication_slot('forgotten')" in found.advice

        for _ in range(MANY):
            await conn.execute(SEGMENT)
            [found] = await told_of_slots(conn)
            if "is lost with the next checkpoint" in found.what:
                break
        assert "'forgotten' lies" in found.what
        assert "max_slot_wal_keep_size" in found.advice

        await conn.execute("CHECKPOINT")
        [found] = await told_of_slots(conn)
        assert "'forgotten' is lost" in found.what
        assert "pg_drop_replication_slot('forgotten')" in found.advice
    finally:
        await conn.close()


@pytest.mark.parametrize(
    ("left", "level", "says"),
    [
        (timedelta(days=-1), Level.FAIL, "has run out"),
        (timedelta(days=2), Level.FAIL, "runs out in 2 d"),
        (timedelta(days=10), Level.WARN, "runs out in 10 d"),
        (timedelta(days=60), Level.OK, "holds for 60 d"),
    ],
)
async def test_a_certificate_by_how_long_it_holds(
    left: timedelta, level: Level, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.local.doubles.http2.LIFETIME", left + timedelta(minutes=1))
    monkeypatch.setattr("outbox.doctor.dates.ANSWER_SECONDS", 60)
    if left < timedelta():  # whose beginning must lie before its end
        monkeypatch.setattr("outbox.local.doubles.http2.LIFETIME", timedelta(minutes=-1))
    async with showing(Certificate.kept(tmp_path)) as port:
        seen = await dates.shown("OUTBOX_API_URL", f"https://127.0.0.1:{port}")
    [found] = dates.judge_certificates([seen])
    assert found.level is level
    assert says in found.what
    assert level is Level.OK or "OUTBOX_API_URL" in found.advice


async def test_a_certificate_that_nobody_shows() -> None:
    seen = await dates.shown("OUTBOX_GATEWAY_URL", "wss://127.0.0.1:9")
    [found] = dates.judge_certificates([seen])
    assert found.level is Level.WARN
    assert "OUTBOX_GATEWAY_URL" in found.advice


@pytest.mark.parametrize(
    ("seconds", "level", "says"),
    [
        (0.2, Level.OK, "agrees"),
        (-2.0, Level.WARN, "2.0 s behind"),
        (2.0, Level.WARN, "2.0 s ahead of"),
        (-3600.0, Level.FAIL, "60 min behind"),
        (45.0, Level.FAIL, "45 s ahead of"),
    ],
)
@pytest.mark.parametrize(("name", "check"), [("PostgreSQL", "clock.postgres"), ("Redis", "clock.redis")])
def test_clocks_apart(name: str, check: str, seconds: float, level: Level, says: str) -> None:
    [found] = clocks.judge(clocks.Ahead(name, seconds))
    assert (found.check, found.level) == (check, level)
    assert says in found.what


async def test_transaction_ids_run_out(admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """This database is young: what counts as old is set to less than its age."""
    facts = await sql.wraparound(admin)
    [well] = tables.judge_vacuum(tables.Vacuum([], facts))
    assert well.level is Level.OK
    monkeypatch.setattr(tables, "NEAR_WRAPAROUND", facts["age"] - 1)
    [found] = tables.judge_vacuum(tables.Vacuum([], facts))
    assert (found.check, found.level) == ("schema.wraparound", Level.FAIL)
    assert "VACUUM FREEZE" in found.advice


@pytest.mark.parametrize(("usage", "level"), [(0.0, Level.OK), (0.1, Level.WARN), (0.5, Level.FAIL)])
def test_a_notification_queue_that_fills(usage: float, level: Level) -> None:
    [found] = tables.judge_queue(usage)
    assert found.level is level
    assert level is Level.OK or "idle in" in found.advice
