"""The outbox as a producer of plain SQL meets it: the trigger, the wake-up, the partitions."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest

from db.pool import Connection

LATER = datetime(2190, 1, 1, tzinfo=UTC)
PLAIN = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('order.paid', 'u-1')"
KEYED = "INSERT INTO notify.outbox (event_type, user_id, dedup_key) VALUES ('order.paid', $1, 'k')"
SCHEDULED = "INSERT INTO notify.outbox (event_type, user_id, deliver_at) VALUES ('order.paid', 'u-1', $1)"
LAST_ID = "SELECT current_setting('notify.last_id', true)"


async def test_two_columns_are_enough(producer: Connection, admin: Connection) -> None:
    assert await producer.execute(PLAIN) == "INSERT 0 1"
    row = await admin.fetchrow(
        "SELECT n.channels, n.payload, n.priority, n.id = o.notification_id AS same, o.attempt, o.origin,"
        " o.xid = pg_snapshot_xmin(pg_current_snapshot()) AS later, n.created_at = o.created_at AS at_once"
        " FROM notify.notifications n, notify.outbox o"
    )
    assert dict(row or {}) == {
        "channels": ["inapp"],
        "payload": "{}",
        "priority": "normal",
        "same": True,
        "attempt": 0,
        "origin": "producer",
        "later": False,
        "at_once": True,
    }


async def test_the_log_knows_the_transaction_that_wrote_it(producer: Connection, admin: Connection) -> None:
    async with producer.transaction():
        await producer.execute(PLAIN)
        async with producer.transaction():  # a savepoint has an xid of its own; the log wants the outer one
            await producer.execute(PLAIN)
        mine = await producer.fetchval("SELECT pg_current_xact_id()::text")
    assert {row[0] for row in await admin.fetch("SELECT xid::text FROM notify.outbox")} == {mine}


async def test_a_repeat_inserts_nothing_and_names_the_first(producer: Connection, admin: Connection) -> None:
    assert await producer.execute(KEYED, "u-1") == "INSERT 0 1"
    first = await admin.fetchval("SELECT id::text FROM notify.notifications")
    async with producer.transaction():
        assert await producer.execute(KEYED, "u-2") == "INSERT 0 0"
        assert await producer.fetchval(LAST_ID) == first
    assert await producer.fetchval(LAST_ID) in {None, ""}  # gone with the transaction
    rows = await admin.fetch("SELECT user_id FROM notify.notifications")
    assert [row[0] for row in rows] == ["u-1"]


async def test_a_key_is_free_again_after_a_rollback(producer: Connection, admin: Connection) -> None:
    transaction = producer.transaction()
    await transaction.start()
    await producer.execute(KEYED, "u-1")
    await transaction.rollback()
    assert await producer.execute(KEYED, "u-2") == "INSERT 0 1"


async def test_under_repeatable_read_a_repeat_it_cannot_see_is_an_error_not_a_second(
    producer: Connection, admin: Connection
) -> None:
    async with producer.transaction(isolation="repeatable_read"):
        await producer.fetchval("SELECT pg_current_snapshot()::text")
        await admin.execute(KEYED, "u-1")
        with pytest.raises(asyncpg.SerializationError):
            await producer.execute(KEYED, "u-2")


async def test_one_for_later_waits_in_scheduled(producer: Connection, admin: Connection) -> None:
    async with producer.transaction():
        assert await producer.execute(SCHEDULED, LATER) == "INSERT 0 0"
        identity = await producer.fetchval(LAST_ID)
    row = await admin.fetchrow("SELECT notification_id, due_at, reason FROM notify.scheduled")
    assert tuple(row or ()) == (UUID(identity), LATER, "deliver_at")
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 0


async def test_an_id_of_the_producer_s_own_is_kept_and_taken_once(
    producer: Connection, admin: Connection
) -> None:
    identity = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    insert = "INSERT INTO notify.outbox (notification_id, event_type, user_id) VALUES ($1, 'a', 'u')"
    await producer.execute(insert, identity)
    assert await admin.fetchval("SELECT id FROM notify.notifications") == identity
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await producer.execute(insert, identity)
    assert caught.value.constraint_name == "notifications_pkey"


async def test_many_rows_of_one_statement_each_pass_the_trigger(
    producer: Connection, admin: Connection
) -> None:
    status = await producer.execute(
        "INSERT INTO notify.outbox (event_type, user_id, dedup_key)"
        " SELECT 'a', 'u-' || n, 'k-' || n % 10 FROM generate_series(0, 99) AS n"
    )
    assert status == "INSERT 0 10"
    rows = await admin.fetch("SELECT user_id FROM notify.outbox ORDER BY id")
    assert [row[0] for row in rows] == [f"u-{number}" for number in range(10)]


# ── the wake-up ──


@pytest.mark.parametrize(
    ("state", "statement", "wakes"),
    [
        (None, PLAIN, True),
        (1, PLAIN, True),
        (2, PLAIN, False),
        (1, SCHEDULED, True),
        (2, SCHEDULED, False),
        (1, f"SET notify.wake = off; {PLAIN}", False),
        (1, f"SET notify.wake = off; {SCHEDULED.replace('$1', repr(str(LATER)))}", False),
    ],
    ids=[
        "never set",
        "asleep",
        "awake",
        "asleep, for later",
        "awake, for later",
        "not wanted",
        "not wanted, for later",
    ],
)
async def test_producers_wake_a_sleeping_relay_only(
    producer: Connection, admin: Connection, state: int | None, statement: str, wakes: bool
) -> None:
    if state is not None:
        await admin.execute("SELECT setval('notify.relay_flag', $1)", state)
    heard: asyncio.Queue[str] = asyncio.Queue()
    await admin.add_listener("notify_relay", lambda _c, _pid, _channel, payload: heard.put_nowait(payload))
    await producer.execute(statement, *([LATER] if "$1" in statement else []))
    await admin.execute("NOTIFY notify_relay, 'end'")
    payloads = []
    async with asyncio.timeout(60):
        while (payload := await heard.get()) != "end":
            payloads.append(payload)
    # A row for later rings twice where it rings: the statement on the outbox, and the row in scheduled; Postgres
    # merges what is the same in one transaction.
    assert payloads == ([""] if wakes else [])


# ── partitions ──


async def partitions(admin: Connection) -> set[str]:
    rows = await admin.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'notify.outbox'::regclass"
    )
    return {row[0] for row in rows}


async def test_rows_go_to_their_partition_or_to_the_default(producer: Connection, admin: Connection) -> None:
    await producer.execute(PLAIN)
    await admin.execute("SELECT setval('notify.outbox_id_seq', 999999)")
    await producer.execute(PLAIN)
    rows = await admin.fetch("SELECT tableoid::regclass::text FROM notify.outbox ORDER BY id")
    assert [row[0] for row in rows] == ["notify.outbox_p0000000000000000000", "notify.outbox_default"]


async def test_a_partition_is_added_with_index_and_rules_and_dropped_whole(admin: Connection) -> None:
    added = await admin.fetchval("SELECT notify.outbox_add_partition(1000000, 2000000)")
    assert added == "outbox_p0000000000001000000"
    assert f"notify.{added}" in await partitions(admin)
    indexed = await admin.fetchval("SELECT indexdef FROM pg_indexes WHERE tablename = $1", added)
    assert "(xid, id)" in indexed
    await admin.execute("SELECT notify.outbox_drop_partition($1, pg_current_snapshot())", added)
    assert f"notify.{added}" not in await partitions(admin)


async def test_only_a_partition_can_be_dropped(admin: Connection) -> None:
    for name in (
        "notifications",
        "outbox",
        "outbox_default",
        "outbox_p1",
        "outbox_p0000000000000000000; --",
        "",
    ):
        with pytest.raises(asyncpg.CheckViolationError, match="is not a partition"):
            await admin.execute("SELECT notify.outbox_drop_partition($1, pg_current_snapshot())", name)


async def test_a_partition_is_added_while_a_producer_holds_a_transaction_open(
    producer: Connection, admin: Connection
) -> None:
    async with producer.transaction():
        await producer.execute(PLAIN)
        await admin.execute("SELECT notify.outbox_add_partition(1000000, 2000000)")


async def test_a_drop_gives_up_rather_than_hold_producers_back(
    producer: Connection, admin: Connection
) -> None:
    async with producer.transaction():
        await producer.execute(PLAIN)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await admin.execute("SELECT notify.outbox_drop_partition('outbox_p0000000000000000000', '1:1:')")


async def test_a_channel_s_version_grows_with_every_change(admin: Connection) -> None:
    read = "SELECT version FROM notify.channels WHERE name = 'email'"
    before = await admin.fetchval(read)
    await admin.execute("UPDATE notify.channels SET enabled = false, version = 0 WHERE name = 'email'")
    assert await admin.fetchval(read) == before + 1
