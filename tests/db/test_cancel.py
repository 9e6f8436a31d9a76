"""notify.cancel by plain SQL: in the producer's own transaction, and without keeping any worker waiting."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from db import delivery
from db.pool import Connection, Pool
from tests.db.test_delivery import PLAIN, claim_one, notify

LATER = datetime(2190, 1, 1, tzinfo=UTC)


async def stopped(conn: Connection, sql: str, value: object) -> dict[str, tuple[str, bool]]:
    return {row["channel"]: (row["status"], row["stopped"]) for row in await conn.fetch(sql, value)}


@pytest.mark.parametrize("deliver_at", [None, LATER])
async def test_written_and_canceled_in_one_transaction(
    producer: Connection, admin: Connection, pool: Pool, deliver_at: datetime | None
) -> None:
    async with producer.transaction():
        one = await notify(producer, deliver_at=deliver_at, dedup_key="k")
        found = await stopped(producer, "SELECT * FROM notify.cancel_key($1)", "k")
    assert found == {"inapp": ("canceled" if deliver_at else "pending", True)}
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 0
    claim = await claim_one(pool, one)
    assert claim.canceled or claim.attempts is None


async def test_taken_back_with_the_transaction(producer: Connection, admin: Connection, pool: Pool) -> None:
    one = await notify(producer, deliver_at=LATER)
    transaction = producer.transaction()
    await transaction.start()
    await producer.execute("SELECT notify.cancel($1)", one)
    await transaction.rollback()
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 1
    assert not (await claim_one(pool, one)).canceled


async def test_a_producer_that_does_not_commit_keeps_no_worker_waiting(
    producer: Connection, pool: Pool
) -> None:
    one = await notify(producer)
    async with producer.transaction():
        await producer.execute("SELECT notify.cancel($1)", one)
        async with asyncio.timeout(60):
            claim = await claim_one(pool, one)
    assert claim.attempts == 1
    assert not claim.canceled, "it was claimed before the commit"


async def test_a_retry_is_taken_out_and_told(producer: Connection, admin: Connection, pool: Pool) -> None:
    one = await notify(producer)
    await claim_one(pool, one)
    await admin.execute("UPDATE notify.deliveries SET status = 'retrying', lease_until = NULL")
    await admin.execute(
        "INSERT INTO notify.scheduled (due_at, notification_id, channels, attempt, reason)"
        " VALUES (now(), $1, '{inapp}', 1, 'retry')",
        one,
    )
    for _ in range(2):
        found = await stopped(producer, "SELECT * FROM notify.cancel($1)", one)
        assert found == {"inapp": ("canceled", True)}
    events = await admin.fetch("SELECT event, attempt FROM notify.delivery_events")
    assert [tuple(row) for row in events] == [("canceled", 1)]
    assert (await claim_one(pool, one, 1)).attempts is None


async def test_nobody_knows_it(producer: Connection) -> None:
    assert await stopped(producer, "SELECT * FROM notify.cancel($1)", uuid4()) == {}
    assert await stopped(producer, "SELECT * FROM notify.cancel_key($1)", "no such key") == {}


async def test_a_deferral_keeps_its_place_when_it_is_given_back(pool: Pool, admin: Connection) -> None:
    """A claim after a deferral, undone: the entry that was scheduled is the one that may claim again."""
    one = await notify(admin)
    await claim_one(pool, one)
    await admin.execute(
        "UPDATE notify.deliveries SET status = 'deferred', attempts = 0, deferrals = 2, lease_until = NULL"
    )
    assert (await claim_one(pool, one, 0)).attempts is None
    assert (await claim_one(pool, one, 1)).attempts is None
    who = replace(PLAIN, token=uuid4())
    claim = await claim_one(pool, one, 2, who)
    assert (claim.attempts, claim.taken_over) == (1, False)

    await delivery.give_back(admin, "inapp", [(one, who.token, 2)])
    again = await claim_one(pool, one, 2)
    assert (again.attempts, again.taken_over) == (1, False)
    await admin.execute("UPDATE notify.deliveries SET lease_until = now() - interval '1 s'")
    over = await claim_one(pool, one, 2)
    assert (over.attempts, over.taken_over) == (2, True)
