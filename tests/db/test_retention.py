"""What a purge takes and what it leaves, rule by rule; and that it waits for nobody, whoever holds what it wants."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from db import delivery, retention
from db.pool import Connection, Pool
from db.retention import BEGINNING, Place
from tests.conftest import Database
from tests.db.old import DAYS, KEEP, LETTER, NOW, left, old, step
from tests.db.test_delivery import PLAIN, WAITING, claim_one, notify

WITH_ITS_ID = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'notification_id'
WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
"""
EVERYWHERE = [
    "INSERT INTO notify.provider_events (provider, event_id, notification_id) VALUES ('twilio', 'e', $1)",
    "INSERT INTO notify.sms_messages (message_id, channel, notification_id, status, rank)"
    " VALUES ('SM', 'sms', $1, 'delivered', 4)",
    "INSERT INTO notify.push_attempts (notification_id, channel, device_id, status, attempt)"
    " VALUES ($1, 'push', notify.uuid7(), 'delivered', 1)",
    "INSERT INTO notify.cap_slots (notification_id, channel) VALUES ($1, 'email')",
    "INSERT INTO notify.notifications_failed (notification_id, channel, error_class, reason, redriven_at)"
    " VALUES ($1, 'email', 'smtp_4xx', 'later', now())",
    "INSERT INTO notify.inbox (user_id, seq, notification_id) VALUES ('ada', 1, $1)",
]
DISCARD = "SELECT notify.discard(ARRAY(SELECT id FROM notify.notifications_failed))"


async def test_what_is_over_goes_with_all_that_hangs_on_it(pool: Pool, admin: Connection) -> None:
    one, young = await old(admin), await notify(admin, "email")
    await admin.execute("INSERT INTO notify.inbox_counters (user_id, last_seq, unread) VALUES ('ada', 1, 1)")
    for statement in EVERYWHERE:
        await admin.execute(statement, one)
    async with pool.acquire() as conn:
        found = await retention.purge(conn, KEEP, BEGINNING, 100)
    assert await left(admin) == {young}
    for (table,) in await admin.fetch(WITH_ITS_ID):
        assert (
            await admin.fetchval(f"SELECT count(*) FROM notify.{table} WHERE notification_id = $1", one) == 0
        )
    tables = "notifications deliveries delivery_events inbox notifications_failed push_attempts sms_messages"
    assert found.rows == dict.fromkeys([*tables.split(), "provider_events"], 1)
    assert (found.looked, found.last, found.stayed) == (1, Place(NOW - 40 * DAYS, one), None)


# Why an old one stays: what else there is of it, and what has to happen before it may go.
OPEN = "UPDATE notify.deliveries SET status = '{}', settled_at = NULL"
CLOSE = "UPDATE notify.deliveries SET status = 'delivered', settled_at = now() - interval '31 days'"
STAYS = {
    status: (OPEN.format(status), CLOSE) for status in ("pending", "sending", "retrying", "deferred")
} | {
    "made since": (
        "UPDATE notify.notifications SET created_at = now() - interval '29 days'",
        "UPDATE notify.notifications SET created_at = now() - interval '31 days'",
    ),
    "ended since": ("UPDATE notify.deliveries SET settled_at = now() - interval '29 days'", CLOSE),
    "a channel without a delivery": (
        "UPDATE notify.notifications SET channels = '{email,sms}'",
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed, settled_at)"
        " SELECT id, 'sms', 'expired', 8, now() - interval '31 days' FROM notify.notifications",
    ),
    "dead letter": (
        "UPDATE notify.deliveries SET status = 'failed'; "
        + LETTER.replace("$1", "(SELECT id FROM notify.notifications)"),
        DISCARD,
    ),
    "held as unknown": (
        "UPDATE notify.deliveries SET status = 'unknown'; "
        + LETTER.replace("$1", "(SELECT id FROM notify.notifications)"),
        DISCARD,
    ),
    "scheduled": (
        "INSERT INTO notify.scheduled (due_at, notification_id, channels, reason)"
        " SELECT now() + interval '1 day', id, '{sms}', 'escalation' FROM notify.notifications",
        "DELETE FROM notify.scheduled",
    ),
}


@pytest.mark.parametrize("why", sorted(STAYS))
async def test_what_is_not_over_stays_until_it_is(admin: Connection, why: str) -> None:
    one = await old(admin)
    begins, ends = STAYS[why]
    await admin.execute(begins)
    found = await step(admin)
    assert await left(admin) == {one}
    assert sum(found.rows.values()) == 0
    await admin.execute(ends)
    await step(admin)
    assert await left(admin) == set()


@pytest.mark.parametrize("status", ["delivered", "suppressed", "canceled", "expired", "digested", "failed"])
async def test_every_end_is_one(admin: Connection, status: str) -> None:
    await old(admin, status=status)
    await step(admin)
    assert await left(admin) == set()


async def test_what_is_in_a_digest_stays_for_as_long_as_that(admin: Connection) -> None:
    """Until the window ends, and while the digest is a dead letter: a redrive would look for what it holds."""
    one = await old(admin, status="digested")
    digest = await admin.fetchval("SELECT notify.collect($1, 'email', 'k', now() + interval '1 day')", one)
    await admin.execute("UPDATE notify.notifications SET created_at = $1 WHERE is_digest", NOW - 38 * DAYS)
    await step(admin)
    assert await left(admin) == {one, digest}, "it collects"
    await admin.execute("DELETE FROM notify.scheduled; UPDATE notify.digests SET closed_at = now()")
    await admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed, settled_at)"
        " VALUES ($1, 'email', 'failed', 8, $2)",
        digest,
        NOW - 38 * DAYS,
    )
    await admin.execute(LETTER, digest)
    await step(admin)
    assert await left(admin) == {one, digest}, "a dead letter"
    await admin.execute(DISCARD)
    await admin.execute("UPDATE notify.deliveries SET settled_at = now() WHERE notification_id = $1", digest)
    await step(admin)
    assert await left(admin) == {one, digest}, "it ended a moment ago"
    await admin.execute("UPDATE notify.deliveries SET settled_at = $1", NOW - 38 * DAYS)
    await step(admin)
    assert await left(admin) == set()


async def test_from_the_oldest_on_a_few_at_a_time(admin: Connection) -> None:
    ages = [50, 45, 40, 35]
    ids = [await old(admin, made=NOW - days * DAYS) for days in ages]
    await admin.execute(LETTER, ids[1])
    first = await step(admin, limit=2)
    assert await left(admin) == set(ids[1:])
    assert first.stayed == first.last == Place(NOW - 45 * DAYS, ids[1])
    second = await step(admin, first.last, limit=2)
    assert await left(admin) == {ids[1]}
    assert (second.looked, second.stayed) == (2, None)
    assert second.last is not None
    third = await step(admin, second.last, limit=2)
    assert (third.looked, third.last, third.stayed, third.inboxes) == (0, None, None, [])


async def test_a_key_is_free_again(admin: Connection, producer: Connection) -> None:
    insert = "INSERT INTO notify.outbox (event_type, user_id, dedup_key) VALUES ('a', 'ada', 'key')"
    assert await producer.execute(insert) == "INSERT 0 1"
    await admin.execute("UPDATE notify.notifications SET created_at = $1", NOW - 40 * DAYS)
    await admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed, settled_at)"
        " SELECT id, 'inapp', 'delivered', 8, $1 FROM notify.notifications",
        NOW - 40 * DAYS,
    )
    assert await producer.execute(insert) == "INSERT 0 0"
    await step(admin)
    assert await producer.execute(insert) == "INSERT 0 1"


async def test_an_entry_of_one_that_is_gone_is_of_nobody(pool: Pool, admin: Connection) -> None:
    """The stream may hold it twice, or a refill may have been under way."""
    one = await old(admin, "inapp")
    await step(admin)
    claim = await claim_one(pool, one)
    assert (claim.known, claim.attempts) == (False, None)
    assert await left(admin) == set()


async def test_who_may(database: Database, pool: Pool, producer: Connection, admin: Connection) -> None:
    """The service, down to a day; nobody else."""
    await old(admin, made=NOW - 0.9 * DAYS, ended=NOW - 0.9 * DAYS)
    reader = await asyncpg.connect(database.readonly)
    for other in (producer, reader):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await retention.purge(other, KEEP, BEGINNING, 1)
    await reader.close()
    async with pool.acquire() as conn:
        with pytest.raises(asyncpg.CheckViolationError, match="kept for a day at least"):
            await retention.purge(conn, timedelta(hours=23), BEGINNING, 1)
    assert len(await left(admin)) == 1


async def test_without_its_index_it_does_not_begin(admin: Connection) -> None:
    """It would read all notifications, step for step."""
    await old(admin)
    await admin.execute("DROP INDEX notify.notifications_created_at")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="notifications_created_at"):
        await step(admin)
    await admin.execute("CREATE INDEX notifications_created_at ON notify.notifications (created_at, id)")
    await admin.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'notify.notifications_created_at'::regclass"
    )
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await step(admin)


# What somebody else may be doing to one of two at this moment.
HOLDS = {
    "a claim of an entry that came twice": "SELECT FROM notify.deliveries WHERE notification_id = $1 FOR UPDATE",
    "a claim that writes a delivery": (
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed)"
        " VALUES ($1, 'sms', 'sending', 8)"
    ),
    "a producer that cancels it": "SELECT notify.cancel($1)",
    "a reader of the inbox": (
        "SELECT FROM notify.inbox_counters WHERE user_id ="
        " (SELECT user_id FROM notify.inbox WHERE notification_id = $1) FOR NO KEY UPDATE"
    ),
}


@pytest.mark.parametrize("who", sorted(HOLDS))
async def test_what_another_holds_stays_for_now(database: Database, admin: Connection, who: str) -> None:
    first, second = await old(admin, "inapp"), await old(admin, "inapp")
    for seq, one in enumerate([first, second]):
        await admin.execute(
            "INSERT INTO notify.inbox (user_id, seq, notification_id) VALUES ($1, 1, $2)", f"u{seq}", one
        )
        await admin.execute("INSERT INTO notify.inbox_counters VALUES ($1, 1, 1, 1)", f"u{seq}")
    other = await asyncpg.connect(database.admin)
    holding = other.transaction()
    await holding.start()
    await other.execute(HOLDS[who], first)
    await admin.execute("SET statement_timeout = '5s'")  # it would wait
    found = await step(admin)
    assert await left(admin) == {first}
    assert (found.looked, found.rows["notifications"], [inbox.user_id for inbox in found.inboxes]) == (
        2,
        1,
        ["u1"],
    )
    await holding.rollback()
    await other.close()
    await step(admin)
    assert await left(admin) == set()


async def test_a_claim_that_waits_for_a_purge_fails_once(
    database: Database, pool: Pool, admin: Connection
) -> None:
    """Of an entry that came twice. Nothing is left to claim, and the delivery that would take its place has no
    notification: the batch is claimed again, as after any fault of the database."""
    one = await old(admin, "inapp")
    purging = await asyncpg.connect(database.app)
    transaction = purging.transaction()
    await transaction.start()
    await step(purging)
    claiming = asyncio.create_task(claim_one(pool, one))
    async with asyncio.timeout(20):
        while not await admin.fetchval(WAITING):
            assert not claiming.done()
    await transaction.commit()
    await purging.close()
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await claiming
    assert not (await claim_one(pool, one)).known


async def test_of_a_batch_that_was_settled_long_ago_nothing_is_settled_again(
    pool: Pool, admin: Connection
) -> None:
    """A worker that comes back from a long sleep."""
    one = await notify(admin)
    who = replace(PLAIN, token=uuid4())
    await claim_one(pool, one, who=who)
    done = delivery.Settlement(one, who.token, delivery.Status.DELIVERED, "delivered", 1)
    async with pool.acquire() as conn:
        await delivery.settle(conn, "inapp", [done])
        await age(admin, one, NOW - 40 * DAYS)
        await step(admin)
        assert await delivery.settle(conn, "inapp", [done]) == {}
        assert await delivery.settle_in_inbox(conn, "inapp", [(done, "ada")]) == {}
    assert await admin.fetchval("SELECT count(*) FROM notify.delivery_events") == 0


async def age(admin: Connection, one: UUID, at: datetime) -> None:
    await admin.execute("UPDATE notify.notifications SET created_at = $2 WHERE id = $1", one, at)
    await admin.execute("UPDATE notify.deliveries SET settled_at = $2 WHERE notification_id = $1", one, at)
