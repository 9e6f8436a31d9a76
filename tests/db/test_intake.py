"""Many rows in one statement: what is told of each, and that it is safe to repeat."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from db import intake
from db.pool import Connection, Pool, PooledConnection
from db.producer import Row
from outbox.envelope import Notification
from outbox.producer import to_row, uuid7


@pytest.fixture
async def conn(pool: Pool) -> AsyncIterator[PooledConnection]:
    """With the service's rights."""
    async with pool.acquire() as conn:
        yield conn


def row(identity: UUID | None = None, **fields: object) -> Row:
    notification = Notification.model_validate({"event_type": "order.paid", "user_id": "u-1"} | fields)
    return to_row(identity or uuid7(), notification)


async def test_only_what_is_odd_is_told(conn: PooledConnection, admin: Connection) -> None:
    first = uuid7()
    rows = [row(), row(channels=["fax"]), row(), row(first, dedup_key="k"), row(dedup_key="k")]
    found = await intake.accept(conn, rows)
    refused = found.pop(1)
    assert found == {4: first}
    assert isinstance(refused, asyncpg.CheckViolationError)
    assert (refused.schema_name, refused.column_name, refused.constraint_name) == (
        "notify",
        "channels",
        "channels_are_known",
    )
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 3


async def test_a_refusal_does_not_quote_the_row(conn: PooledConnection) -> None:
    bad = row(payload={"secret": "4711"})
    found = await intake.accept(conn, [(*bad[:2], "", *bad[3:])])
    assert "4711" not in str(vars(found[0]))


async def test_the_same_ids_again_change_nothing(conn: PooledConnection, admin: Connection) -> None:
    rows = [row(), row(deliver_at="2190-01-01T00:00:00Z"), row(channels=["inapp", "email"], escalate_after=9)]
    rows.append(row(dedup_key="k"))
    assert await intake.accept(conn, rows) == {}
    again = await intake.accept(conn, rows)
    assert again in ({}, {3: UUID(rows[3][0])})
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 4
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 3
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 2


async def test_a_batch_is_one_transaction(conn: PooledConnection, admin: Connection) -> None:
    transaction = conn.transaction()
    await transaction.start()
    assert await intake.accept(conn, [row(), row()]) == {}
    assert await conn.fetchval("SHOW lock_timeout") == "0"  # what the function sets is its own
    await transaction.rollback()
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 0


async def test_producers_cannot_say_that_a_notification_is_there_already(producer: Connection) -> None:
    for statement in (
        "INSERT INTO notify.outbox (event_type, user_id, origin) VALUES ('a', 'u', 'api')",
        f"SELECT notify.accept({', '.join(['NULL::text[]'] * 16)})",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await producer.execute(statement)
