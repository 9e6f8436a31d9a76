"""`outbox status` against real servers: what it counts, what it shows, and that it stays cheap."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from redis.asyncio import Redis
from rich.console import Console

from db import status
from db.pool import Connection
from outbox.cli import status_view
from outbox.look import Look, Relay, Stream, Waiting, take
from outbox.nodes import Nodes
from outbox.settings import Settings
from outbox.streams import GROUP
from tests.cli.conftest import Command

NOTIFY = "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('e', 'alice', '{inapp,email}')"
DELIVER = """
INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed)
SELECT id, $1, $2, 8 FROM notify.notifications
"""
# An id of the producer's own: a UUIDv7 of two days ago, or one that says nothing of its time.
FOREIGN = UUID("f36c07f3-26f0-4eea-a50c-109940064b8f"), UUID("f46c07f3-26f0-4eea-a50c-109940064b8f")
OLD = "INSERT INTO notify.outbox (notification_id, event_type, user_id) VALUES ($1, 'e', 'alice')"
AGAIN = """
INSERT INTO notify.outbox (notification_id, event_type, user_id, channels, attempt, created_at, origin)
SELECT id, event_type, user_id, channels, 1, now() - interval '1 day', 'schedule' FROM notify.notifications
"""
TICK = """
INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, rows, bytes, max_id)
VALUES (1, (extract(epoch FROM now()) * 1000)::bigint, pg_current_snapshot(), '{}', 1, 1, 1)
"""
LEAD = "INSERT INTO notify.relay_lease VALUES ('relay', 'here-1', 1, now() + interval '8 s')"


async def look(admin: Connection, nodes: Nodes, settings: Settings) -> Look:
    return await take(admin, nodes, settings.keys)


async def test_an_empty_system(admin: Connection, nodes: Nodes, settings: Settings) -> None:
    seen = await look(admin, nodes, settings)
    assert seen.relay == Relay(None, None, None, None, 0, 0.0)
    assert (seen.streams, seen.deliveries, seen.scheduled, seen.dead_letters) == ([], {}, [], [])


async def test_lag_is_what_no_tick_holds(admin: Connection, nodes: Nodes, settings: Settings) -> None:
    await admin.execute(NOTIFY)
    assert (await look(admin, nodes, settings)).relay.lag_rows == 1
    await admin.execute(TICK)
    await admin.execute(LEAD)
    relay = (await look(admin, nodes, settings)).relay
    assert (relay.lag_rows, relay.lag_seconds, relay.tick, relay.holder) == (0, 0.0, 1, "here-1")
    assert relay.lease_seconds is not None
    assert 0 < relay.lease_seconds <= 8
    await admin.execute(NOTIFY)
    relay = (await look(admin, nodes, settings)).relay
    assert relay.lag_rows == 1
    assert 0 < relay.lag_seconds < 60


async def test_lag_counts_a_transaction_that_was_open_at_the_tick(
    admin: Connection, producer: Connection, nodes: Nodes, settings: Settings
) -> None:
    async with producer.transaction():
        await producer.execute(NOTIFY)
        await admin.execute(
            "SELECT pg_current_xact_id()"
        )  # a later one has ended: the tick's xip holds the open one
        await admin.execute(TICK)
        assert (await look(admin, nodes, settings)).relay.lag_rows == 0
    assert (await look(admin, nodes, settings)).relay.lag_rows == 1


async def test_a_retry_is_not_as_late_as_its_notification_is_old(
    admin: Connection, nodes: Nodes, settings: Settings
) -> None:
    await admin.execute(NOTIFY)
    await admin.execute(TICK)
    await admin.execute(AGAIN)
    relay = (await look(admin, nodes, settings)).relay
    assert (relay.lag_rows, relay.lag_seconds) == (1, 0.0)


async def test_a_released_lease_leads_nobody(admin: Connection, nodes: Nodes, settings: Settings) -> None:
    await admin.execute("INSERT INTO notify.relay_lease VALUES ('relay', 'here-1', 1, '-infinity')")
    assert (await look(admin, nodes, settings)).relay.lease_seconds is None


async def test_deliveries_of_the_last_day_by_channel_and_state(
    admin: Connection, nodes: Nodes, settings: Settings
) -> None:
    old = status.lowest_uuid7(datetime.now(UTC) - timedelta(days=2))
    for one in (UUID(int=old.int | 7 << 76 | 2 << 62), FOREIGN[0]):
        await admin.execute(OLD, one)
    await admin.execute("UPDATE notify.notifications SET created_at = created_at - interval '2 days'")
    await admin.execute(DELIVER, "inapp", "failed")
    await admin.execute("DELETE FROM notify.outbox")
    await admin.execute(NOTIFY)
    await admin.execute(OLD, FOREIGN[1])
    await admin.execute(
        DELIVER + "WHERE id NOT IN (SELECT notification_id FROM notify.deliveries)", "email", "delivered"
    )
    seen = await look(admin, nodes, settings)
    assert seen.deliveries == {"email": {"delivered": 2}}


async def test_deliveries_are_read_from_the_right_edge_of_the_primary_key(admin: Connection) -> None:
    """However many there are: only the range is read."""
    await admin.execute("""
        INSERT INTO notify.notifications (id, event_type, user_id, channels, payload, priority, created_at)
        SELECT overlay(notify.uuid7()::text PLACING lpad(to_hex(n), 8, '0') FROM 1 FOR 8)::uuid,
               'e', 'alice', '{inapp}', '{}', 'normal', now() - interval '2 days' FROM generate_series(1, 20000) n
    """)
    await admin.execute(DELIVER, "inapp", "delivered")
    await admin.execute("VACUUM ANALYZE notify.deliveries, notify.notifications")
    now = datetime.now(UTC)
    ends = status.lowest_uuid7(now), status.lowest_uuid7(now + timedelta(days=1))
    plan = await admin.fetch("EXPLAIN " + status.SQL["deliveries"], *ends, now)
    text = "\n".join(row[0] for row in plan)
    assert "deliveries_pkey" in text
    assert "notifications_created_at" in text
    assert "Seq Scan" not in text


async def test_streams_with_their_group(
    admin: Connection, redis: Redis, nodes: Nodes, settings: Settings
) -> None:
    stream = settings.keys.stream("email")
    now, _ = await redis.time()
    await redis.xadd(stream, {"a": "1"}, id=f"{now * 1000 - 5000}-1")
    await redis.xadd(stream, {"a": "2"}, id=f"{now * 1000}-2")
    await redis.xgroup_create(stream, GROUP, id="0")
    await redis.xreadgroup(GROUP, "worker-1", {stream: ">"}, count=1)
    (seen,) = (await look(admin, nodes, settings)).streams
    assert (seen.name, seen.length, seen.pending, seen.consumers) == (stream, 2, 1, 1)
    assert seen.oldest_seconds is not None
    assert 4 < seen.oldest_seconds < 30


async def test_scheduled_and_dead_letters(admin: Connection, nodes: Nodes, settings: Settings) -> None:
    await admin.execute(
        "INSERT INTO notify.outbox (event_type, user_id, deliver_at) VALUES ('e', 'alice', now() + interval '1 h')"
    )
    await admin.execute("""
        INSERT INTO notify.notifications_failed (channel, error_class, reason, failed_at, redriven_at)
        VALUES ('email', 'permanent', '550', now() - interval '1 h', NULL), ('email', 'permanent', '550', now(), now())
    """)
    seen = await look(admin, nodes, settings)
    (scheduled,), (dead,) = seen.scheduled, seen.dead_letters
    assert (scheduled.name, scheduled.count, round(scheduled.seconds / 60)) == ("deliver_at", 1, 60)
    assert (dead.name, dead.count, round(dead.seconds / 60)) == ("email", 1, 60)


async def test_the_command_shows_it(
    outbox: Command, configured: Settings, admin: Connection, redis: Redis
) -> None:
    await admin.execute(NOTIFY)
    await admin.execute(DELIVER, "email", "delivered")
    await admin.execute("UPDATE notify.channels SET enabled = false WHERE name = 'sms'")
    await redis.xadd(configured.keys.stream("inapp", "urgent"), {"a": "1"})
    result = await outbox("status")
    assert result.exit_code == 0
    for expected in (
        "nobody leads",
        "1 rows",
        "notifications.inapp.urgent",
        "delivered",
        "sms (off)",
        "no dead letters",
    ):
        assert expected in result.output


async def test_json_is_one_object_a_line(outbox: Command, configured: Settings, redis: Redis) -> None:
    result = await outbox("status", "--json")
    assert json.loads(result.stdout)["relay"]["lag_rows"] == 0
    assert len(result.stdout.splitlines()) == 1


def test_every_part_of_a_look_is_drawn() -> None:
    seen = Look(
        at=datetime.now(UTC),
        relay=Relay("here-1", 7.5, 12, 0.5, 150_000, 12.0),
        streams=[Stream("notifications.email", 5, 2, 0, 300.0)],
        deliveries={"email": {"delivered": 1234, "failed": 1}},
        disabled=[],
        scheduled=[Waiting("retry", 3, -2.0)],
        dead_letters=[Waiting("email", 1, 7300.0)],
    )
    console = Console(width=120)
    with console.capture() as capture:
        console.print(status_view.render(seen))
    shown = capture.get()
    for expected in (
        "here-1",
        "lease 7.5 s",
        "150,000+ rows, 12 s",
        "1,234",
        "due since 2.0 s",
        "oldest 2 h ago",
    ):
        assert expected in shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0.012, "12 ms"),
        (4.21, "4.2 s"),
        (42, "42 s"),
        (300, "5 min"),
        (7300, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_an_age_is_shown_in_the_unit_that_suits_it(seconds: float | None, shown: str) -> None:
    assert status_view.age(seconds) == shown
