"""Every column of the schema: whether it may hold what is personal. A new one is refused by a test until it is here."""

import re

from db.pool import Connection

# Columns in which a person's id, an address, a payload or a fact about the person may stand.
PERSONAL: dict[str, set[str]] = {
    "api_keys": {"created_by"},
    "audit_log": {"actor"},
    "caps": {"user_id"},
    "deliveries": {"provider_message_id", "reason"},
    "delivery_events": {"detail"},
    "device_tokens": {"user_id", "token"},
    "digests": {"user_id", "key"},
    "endpoint_queue": {"endpoint"},
    "endpoint_turns": {"endpoint"},
    "inbox": {"user_id"},
    "inbox_counters": {"user_id"},
    "notifications": {"user_id", "actor_user_id", "payload", "dedup_key", "digest_key", "traceparent"},
    "notifications_failed": {"reason", "raw"},
    "outbox": {"user_id", "actor_user_id", "payload", "dedup_key", "digest_key", "traceparent"},
    "provider_events": {"event_id"},
    "push_attempts": {"message_id", "reason"},
    "recipients": {"user_id", "email", "phone", "locale", "time_zone", "quiet_hours"},
    "sms_messages": {"message_id", "reason"},
    "suppressions": {"address"},
    "user_channel_prefs": {"user_id", "constraints"},
    "webhook_endpoints": {"user_id", "url"},
    # Until it is finished; a constraint says so.
    "erasures": {"user_id", "addresses", "place"},
}
# All the others: about the service, or about a notification that is gone with its person.
OTHER: dict[str, str] = {
    "alembic_version": "version_num",
    "api_keys": "id name hash scopes event_types channels rate created_at expires_at revoked_at last_used_at version",
    "audit_log": "id at via action target detail request_id",  # names nobody: outbox.audit.pseudonym
    "cap_slots": "notification_id channel",
    "caps": "channel scope used ends_at",
    "channel_shards": "channel shards",
    "channels": "name kind enabled config max_attempts on_unknown version updated_at retry_base retry_cap retry_jitter"
    " retry_deadline rules",
    "deliveries": "notification_id channel status attempts attempts_allowed lease_token lease_until worker error_class"
    " claimed_at settled_at provider deferrals",
    "delivery_events": "notification_id channel at event attempt",
    "device_tokens": "id platform created_at registered_at",
    "digest_items": "notification_id channel digest_id place left_out",
    "digests": "id channel closes_at closed_at",
    "endpoint_queue": "channel notification_id ms row",
    "endpoint_turns": "channel notification_id held_until",
    "erasures": "id subject round stage erased requested_at due_at lease_token lease_until finished_at",
    "event_routes": "aggregatetype type user_path event_type channels template_name priority",
    "inbox": "seq notification_id delivered_at read_at archived_at",
    "inbox_counters": "last_seq unread version",
    "notifications": "id event_type channels template_name priority created_at deliver_at expires_at canceled_at"
    " digest_window escalate_after escalate_channels is_digest",
    "notifications_failed": "id notification_id channel error_class attempts stream entry_id failed_at redriven_at"
    " discarded_at mirrored_at",
    "outbox": "id xid notification_id event_type channels template_name priority created_at deliver_at expires_at"
    " attempt origin digest_window escalate_after escalate_channels",
    "placements": "no shards",
    "provider_events": "provider notification_id",
    "push_attempts": "notification_id channel device_id status attempt provider error_class at",
    "recipients": "updated_at asked_at",
    "relay_lease": "name holder epoch expires_at",
    "relay_ticks": "no ms snapshot tops behind solo rows bytes max_id floor placement",
    "scheduled": "id due_at notification_id channels attempt reason",
    "sms_messages": "channel notification_id status rank updated_at",
    "suppressions": "channel reason created_at",
    "templates": "id name channel locale version subject body_text body_html created_at",
    "user_channel_prefs": "channel event_type enabled updated_at",
    "veil_key": "one key",
    "veiled_suppressions": "channel veil reason created_at",  # a keyed hash: docs/privacy.md
    "webhook_endpoints": "channel secrets enabled reason updated_at",
}
PARTITION = re.compile(r"^outbox_(p\d+|default)$")


async def columns(admin: Connection) -> dict[str, set[str]]:
    """Of every table, without the log's partitions."""
    rows = await admin.fetch(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0"
        " AND NOT a.attisdropped"
    )
    found: dict[str, set[str]] = {}
    for table, column in rows:
        if not PARTITION.match(table):
            found.setdefault(table, set()).add(column)
    return found


async def where(admin: Connection, words: list[str]) -> set[tuple[str, str]]:
    """Each table and column in which one of these stands, bytes and arrays among them."""
    found = set()
    for table, names in (await columns(admin)).items():
        for name in names:
            for word in words:
                if await admin.fetchval(
                    f"SELECT EXISTS (SELECT FROM notify.{table}"
                    f" WHERE strpos({name}::text, $1) > 0 OR strpos({name}::text, $2) > 0)",
                    word,
                    word.encode().hex(),
                ):
                    found.add((table, name))
    return found
