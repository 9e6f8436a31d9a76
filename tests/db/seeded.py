"""A database with a history, for plans: N rows of everything that grows, the tail of it not relayed yet."""

from datetime import UTC, datetime

import asyncpg

from db.pool import Connection

TAIL = 2_000  # committed rows behind the last tick, at any size
ROWS_PER_TICK, ROWS_PER_XID, FIRST_XID = 1_000, 10, 1_000
SOLO_XID, SOLO_ROWS = 900, 2_000
USER_ITEMS = 20  # in an ordinary inbox
PARTITIONS = 4
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)  # notification; the others are a millisecond apart

# Ids as sortable as those of uuid7(), so that the keys' pages are filled the same way.
UUID = "('00000000-0000-7000-8000-' || lpad(to_hex({0}), 12, '0'))::uuid"

PARTS = """
DROP TABLE notify.outbox_p0000000000000000000;
SELECT notify.outbox_add_partition({size} * i, {size} * (i + 1)) FROM generate_series(0, {parts}) i;
"""
ROWS = f"""
SET session_replication_role = replica;  -- the owner's way past triggers and foreign keys, for speed

INSERT INTO notify.notifications (id, event_type, user_id, channels, payload, dedup_key, priority, created_at)
SELECT {UUID.format("i")}, 'order.paid', 'u' || i % ($1 / {USER_ITEMS}), '{{inapp}}', '{{"number": 1}}',
       CASE WHEN i % 10 = 0 THEN 'key-' || i END, 'normal', '{NEWEST}'::timestamptz + (i - $1) * interval '1 ms'
FROM generate_series(1, $1) i;

INSERT INTO notify.outbox (id, xid, notification_id, event_type, user_id, payload)
SELECT i, (CASE WHEN i <= {SOLO_ROWS} THEN {SOLO_XID} ELSE {FIRST_XID} + i / {ROWS_PER_XID} END)::text::xid8,
       {UUID.format("i")}, 'order.paid', 'u' || i % ($1 / {USER_ITEMS}), '{{"number": 1}}'
FROM generate_series(1, $1) i;

INSERT INTO notify.relay_ticks (no, ms, snapshot, tops, rows, bytes, max_id)
SELECT i, 1700000000000 + i * 10, (x || ':' || x || ':')::pg_snapshot, '{{}}', {ROWS_PER_TICK}, 1, i * {ROWS_PER_TICK}
FROM (SELECT i, {FIRST_XID} + i * {ROWS_PER_TICK} / {ROWS_PER_XID} AS x
      FROM generate_series(1, ($1 - {TAIL}) / {ROWS_PER_TICK}) i) t;

INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed)
SELECT {UUID.format("i")}, 'inapp', 'delivered', 1, 8 FROM generate_series(1, $1 - {TAIL}) i;

INSERT INTO notify.delivery_events (notification_id, channel, event, attempt)
SELECT {UUID.format("i")}, 'inapp', 'delivered', 1 FROM generate_series(1, $1 - {TAIL}) i;

INSERT INTO notify.scheduled (due_at, notification_id, channels, attempt, reason)
SELECT now() + (i - 50) * interval '1 minute', {UUID.format("i")}, '{{inapp}}', 1, 'retry'
FROM generate_series(1, $1 / 4) i;

INSERT INTO notify.notifications_failed (notification_id, channel, error_class, reason, failed_at, mirrored_at)
SELECT {UUID.format("i")}, 'email', 'smtp_5xx', 'because', now() - i * interval '1 second',
       CASE WHEN i > 50 THEN now() END
FROM generate_series(1, $1 / 4) i;

INSERT INTO notify.sms_messages (message_id, channel, notification_id, status, rank)
SELECT 'SM-' || i, 'inapp', {UUID.format("i")}, CASE WHEN i % 10 = 0 THEN 'undelivered' ELSE 'sent' END, 3
FROM generate_series(1, $1 / 4) i;

-- Ordinary inboxes, and one of somebody who has a tenth of everything.
INSERT INTO notify.inbox (user_id, seq, notification_id, read_at)
SELECT 'u' || i % ($1 / {USER_ITEMS}), 1 + i / ($1 / {USER_ITEMS}), {UUID.format("i")},
       CASE WHEN i % 3 > 0 THEN now() END
FROM generate_series(0, $1 - {TAIL} - $1 / 10) i;
INSERT INTO notify.inbox (user_id, seq, notification_id)
SELECT 'heavy', i, {UUID.format("$1 * 2 + i")} FROM generate_series(1, $1 / 10) i;
INSERT INTO notify.notifications (id, event_type, user_id, channels, payload, priority, created_at)
SELECT {UUID.format("$1 * 2 + i")}, 'order.paid', 'heavy', '{{inapp}}', '{{}}', 'normal', '{NEWEST}'
FROM generate_series(1, $1 / 10) i;
INSERT INTO notify.inbox_counters (user_id, last_seq, unread, version)
SELECT user_id, max(seq), count(*) FILTER (WHERE read_at IS NULL), max(seq) FROM notify.inbox GROUP BY user_id;

INSERT INTO notify.recipients (user_id, email)
SELECT 'u' || i, 'u' || i || '@example.org' FROM generate_series(0, $1 / 4) i;
INSERT INTO notify.user_channel_prefs (user_id, channel) SELECT user_id, 'email' FROM notify.recipients;
INSERT INTO notify.suppressions (channel, address, reason)
SELECT 'email', 'gone' || i || '@example.org', 'bounce' FROM generate_series(1, $1 / 4) i;
INSERT INTO notify.veiled_suppressions (channel, veil, reason, created_at)
SELECT 'email', sha256(int8send(i)), 'bounce', now() FROM generate_series(1, $1 / 4) i;

-- Closed digests of ten each.
INSERT INTO notify.digests (id, user_id, channel, key, closes_at, closed_at)
SELECT {UUID.format("$1 * 4 + i")}, 'u' || i, 'sms', 'k', now(), now() FROM generate_series(1, $1 / 40) i;
INSERT INTO notify.digest_items (notification_id, channel, digest_id)
SELECT {UUID.format("i")}, 'sms', {UUID.format("$1 * 4 + 1 + (i - 1) / 10")} FROM generate_series(1, $1 / 4) i;
INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed)
SELECT notification_id, channel, 'digested', 8 FROM notify.digest_items;
INSERT INTO notify.device_tokens (id, user_id, platform, token, registered_at)
SELECT {UUID.format("i")}, 'u' || i % ($1 / {USER_ITEMS}), (ARRAY['fcm', 'apns'])[i % 2 + 1], 'token-' || i,
       now() - i * interval '1 second'
FROM generate_series(1, $1 / 4) i;
INSERT INTO notify.push_attempts (notification_id, channel, device_id, status, attempt)
SELECT {UUID.format("i")}, 'push', {UUID.format("1 + (i - 1) % ($1 / 4)")}, 'delivered', 1
FROM generate_series(1, $1) i;
"""
# Without which those rows would have come from another database.
PAST = """
DO $$ BEGIN WHILE pg_current_xact_id() <= '{last}'::xid8 LOOP COMMIT; END LOOP; END $$
"""
TABLES = """
SELECT format('ALTER TABLE notify.%I SET (autovacuum_enabled = off)', relname)
FROM pg_class WHERE relnamespace = 'notify'::regnamespace AND relkind = 'r'
"""


async def seed(admin_url: str, size: int) -> None:
    """Without statistics, as a partition made a moment ago is."""
    admin: Connection = await asyncpg.connect(admin_url)
    try:
        await admin.execute(PARTS.format(size=size // PARTITIONS, parts=PARTITIONS))
        for (statement,) in await admin.fetch(TABLES):
            await admin.execute(statement)  # which would ANALYZE, too
        await admin.execute(ROWS.replace("$1", str(size)))
        await admin.execute(PAST.format(last=FIRST_XID + size // ROWS_PER_XID))
    finally:
        await admin.close()


def uuid(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"
