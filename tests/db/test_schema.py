"""The schema keeps its own rules, whoever writes: every constraint is tried, by its name."""

import json
from typing import Any

import asyncpg
import pytest

from db.pool import Connection

LONG = "x" * 300
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNPRINTABLE = ("a\x07", "a\x7f", "a\x85b", "a\u2028b", "\u2029")

# A row of each table that keeps every rule; each case below spoils one column of it.
GOOD: dict[str, dict[str, Any]] = {
    "channels": {"name": "fax", "kind": "webhook", "config": {}, "max_attempts": 8, "on_unknown": "resend"},
    "notifications": {
        "event_type": "order.paid",
        "user_id": "u-1",
        "channels": ["inapp"],
        "payload": {},
        "priority": "normal",
        "created_at": "2026-01-01T00:00:00Z",
    },
    "scheduled": {"due_at": "2026-01-01T00:00:00Z", "channels": ["inapp"], "reason": "retry"},
    "deliveries": {"channel": "inapp", "status": "pending", "attempts_allowed": 8},
    "recipients": {"user_id": "u-1"},
    "device_tokens": {"user_id": "u-1", "platform": "fcm", "token": "t"},
    "push_attempts": {
        "channel": "push",
        "device_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "status": "delivered",
        "attempt": 1,
    },
    "user_channel_prefs": {"user_id": "u-1", "channel": "email", "constraints": {}},
    "suppressions": {"channel": "email", "address": "ann@example.org", "reason": "bounce"},
    "provider_events": {"provider": "sendgrid", "event_id": "e1"},
    "templates": {"name": "receipt", "channel": "email"},
    "webhook_endpoints": {
        "channel": "webhook",
        "user_id": "u-1",
        "url": "https://hooks.example.com/in?a=b",
        "secrets": ["env:A", "env:B"],
        "enabled": True,
    },
    "inbox_counters": {"user_id": "u-1", "unread": 0},
    "channel_shards": {"channel": "email", "shards": 4},
    "placements": {"shards": {"email": 4}},
    "outbox": {"event_type": "order.paid", "user_id": "u-1", "origin": "producer"},
    "api_keys": {
        "id": "abcdefghij12",
        "name": "shop",
        "hash": "\\x" + "00" * 32,
        "scopes": ["producer"],
        "created_by": "ann",
        "version": 1,
        "created_at": "2026-01-01T00:00:00Z",
    },
    "erasures": {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "subject": "x",
        "user_id": "u-1",
        "round": 1,
        "stage": "notifications",
        "erased": {},
        "requested_at": "2026-01-01T00:00:00Z",
        "due_at": "2026-01-01T00:00:00Z",
    },
    "veil_key": {"key": "\\x00"},
    "event_routes": {
        "aggregatetype": "order",
        "type": "paid",
        "channels": ["inapp"],
        "priority": "normal",
    },
    "audit_log": {
        "actor": "ann",
        "via": "token",
        "action": "channel.change",
        "target": "email",
        "request_id": "r",
    },
}
PLAIN = {"event_type": "order.paid", "user_id": "u-1"}  # the least that a producer writes

NOTIFICATION: list[tuple[str, Any, str]] = [
    ("event_type", "", "event_type_is_1_to_128_letters_digits_dots_dashes_colons"),
    ("event_type", "order paid", "event_type_is_1_to_128_letters_digits_dots_dashes_colons"),
    ("event_type", "a\n", "event_type_is_1_to_128_letters_digits_dots_dashes_colons"),
    ("event_type", "a" * 129, "event_type_is_1_to_128_letters_digits_dots_dashes_colons"),
    ("user_id", "", "user_id_is_1_to_200_printable_characters"),
    ("user_id", LONG, "user_id_is_1_to_200_printable_characters"),
    ("user_id", "a\tb", "user_id_is_1_to_200_printable_characters"),
    *(("user_id", text, "user_id_is_1_to_200_printable_characters") for text in UNPRINTABLE),
    ("actor_user_id", "", "actor_user_id_is_1_to_200_printable_characters"),
    *(("actor_user_id", text, "actor_user_id_is_1_to_200_printable_characters") for text in UNPRINTABLE),
    ("channels", [], "channels_are_1_to_16"),
    ("payload", [1], "payload_is_a_json_object"),
    ("payload", "text", "payload_is_a_json_object"),
    ("payload", {"a": "x" * 65_536}, "payload_is_at_most_65536_bytes"),
    ("template_name", "", "template_name_is_1_to_128_letters_digits_dots_dashes"),
    ("template_name", "../x", "template_name_is_1_to_128_letters_digits_dots_dashes"),
    ("dedup_key", "", "dedup_key_is_1_to_255_printable_characters"),
    ("dedup_key", LONG, "dedup_key_is_1_to_255_printable_characters"),
    *(("dedup_key", text, "dedup_key_is_1_to_255_printable_characters") for text in UNPRINTABLE),
    ("priority", "high", "priority_is_urgent_normal_or_bulk"),
    ("deliver_at", "1999-12-31T23:59:59Z", "deliver_at_is_between_2000_and_2200"),
    ("deliver_at", "infinity", "deliver_at_is_between_2000_and_2200"),
    ("expires_at", "2200-01-01T00:00:01Z", "expires_at_is_between_2000_and_2200"),
    ("traceparent", TRACE.upper(), "traceparent_is_w3c_trace_context"),
    ("digest_key", "", "digest_key_is_1_to_255_printable_characters"),
    ("digest_key", LONG, "digest_key_is_1_to_255_printable_characters"),
    *(("digest_key", text, "digest_key_is_1_to_255_printable_characters") for text in UNPRINTABLE),
    ("digest_window", 60, "digest_window_is_given_with_digest_key"),
]
HOOKS: list[tuple[str, str, Any, str]] = [
    ("webhook_endpoints", "user_id", "a\tb", "endpoint_user_id_is_1_to_200_printable_characters"),
    *(
        ("webhook_endpoints", "url", url, "url_is_http_or_a_reference")
        for url in (
            "ftp://x",
            "https://a b",
            "https://é",
            "https://",
            "env:",
            "env:A B",
            f"https://{'x' * 2000}",
        )
    ),
    *(
        ("webhook_endpoints", "secrets", secrets, "secrets_are_up_to_5_references")
        for secrets in (["whsec_abc"], ["env:A", None], ["env:A"] * 6, [""], ["env:A env:B x"])
    ),
]
ADMINISTRATION: list[tuple[str, str, Any, str]] = [
    ("audit_log", "actor", "a\nb", "actor_is_1_to_200_printable_characters"),
    ("audit_log", "via", "telepathy", "via_is_token_key_or_command"),
    ("audit_log", "action", "change", "action_is_like_channel_change"),
    ("audit_log", "target", "x" * 301, "target_is_1_to_300_printable_characters"),
    ("audit_log", "detail", [], "audit_detail_is_a_json_object"),
    ("channel_shards", "shards", 0, "shards_are_a_power_of_two_up_to_64"),
    ("channel_shards", "shards", 3, "shards_are_a_power_of_two_up_to_64"),
    ("channel_shards", "shards", 128, "shards_are_a_power_of_two_up_to_64"),
    ("placements", "shards", [4], "placement_is_a_json_object"),
    ("api_keys", "id", "abc", "key_id_is_12_letters_or_digits"),
    ("api_keys", "name", "a\tb", "key_name_is_1_to_100_printable_characters"),
    ("api_keys", "hash", "\\x00", "key_hash_is_a_sha256"),
    ("api_keys", "scopes", ["user"], "key_scopes_are_some_of_producer_bounces_admin"),
    ("api_keys", "scopes", [], "key_scopes_are_some_of_producer_bounces_admin"),
    ("api_keys", "event_types", [], "key_event_types_are_1_to_50"),
    ("api_keys", "channels", [], "key_channels_are_1_to_50"),
    ("api_keys", "rate", "fast", "key_rate_is_like_600_per_minute"),
    ("api_keys", "created_by", "", "key_created_by_is_1_to_200_printable_characters"),
    ("audit_log", "request_id", "", "request_id_is_1_to_128_printable_characters"),
    ("erasures", "finished_at", "2026-01-01T00:00:00Z", "a_receipt_names_nobody"),
    ("veil_key", "one", False, "there_is_one_veil_key"),
    ("event_routes", "user_path", [], "user_path_is_1_to_8_keys"),
    ("event_routes", "priority", "high", "route_priority_is_urgent_normal_or_bulk"),
]
OTHERS: list[tuple[str, str, Any, str]] = [
    ("channels", "name", "Fax", "channel_name_is_1_to_40_of_a_z_0_9_dash"),
    ("channels", "name", "a" * 41, "channel_name_is_1_to_40_of_a_z_0_9_dash"),
    ("channels", "name", "dlq", "channel_name_is_not_dlq"),
    ("channels", "kind", "pigeon", "channel_kind_is_known"),
    ("channels", "kind", "email", "kind_is_webhook_for_a_channel_of_another_name"),
    ("channels", "config", [], "config_is_a_json_object"),
    ("channels", "max_attempts", 0, "max_attempts_is_1_to_100"),
    ("channels", "max_attempts", 101, "max_attempts_is_1_to_100"),
    ("channels", "on_unknown", "guess", "on_unknown_is_resend_hold_or_ask"),
    ("scheduled", "reason", "whim", "scheduled_reason_is_known"),
    ("deliveries", "status", "lost", "delivery_status_is_known"),
    ("recipients", "user_id", "", "recipient_user_id_is_1_to_200_printable_characters"),
    *(
        ("recipients", "user_id", text, "recipient_user_id_is_1_to_200_printable_characters")
        for text in UNPRINTABLE
    ),
    ("recipients", "email", "ann", "email_is_an_address"),
    ("recipients", "email", "ann@example.org\nBcc: x@example.org", "email_is_an_address"),
    ("recipients", "email", f"{LONG}@{LONG}", "email_is_an_address"),
    *(("recipients", "email", f"ann{text}@example.org", "email_is_an_address") for text in UNPRINTABLE),
    ("recipients", "phone", "0171 2345678", "phone_is_e164"),
    ("recipients", "locale", "de_DE", "locale_is_bcp47"),
    ("recipients", "time_zone", "Europe/Berlin'", "time_zone_is_an_iana_name"),
    ("device_tokens", "platform", "pager", "platform_is_fcm_or_apns"),
    ("device_tokens", "token", "", "token_is_1_to_4096_characters"),
    ("device_tokens", "token", "x" * 2_001, "token_is_at_most_2000_bytes"),
    ("push_attempts", "status", "lost", "push_attempt_status_is_known"),
    ("user_channel_prefs", "constraints", [], "constraints_are_a_json_object"),
    ("user_channel_prefs", "event_type", "order*", "event_type_is_a_type_or_a_category"),
    ("user_channel_prefs", "event_type", ".*", "event_type_is_a_type_or_a_category"),
    ("recipients", "quiet_hours", [], "quiet_hours_are_a_json_object"),
    ("channels", "retry_base", 0, "retry_base_is_above_0_seconds"),
    ("channels", "retry_cap", 0, "retry_cap_is_above_0_seconds"),
    ("channels", "retry_jitter", 1.5, "retry_jitter_is_0_to_1"),
    ("channels", "retry_deadline", 0, "retry_deadline_is_above_0_seconds"),
    ("channels", "rules", [], "rules_are_a_json_object"),
    ("suppressions", "address", "Ann@example.org", "address_is_lower_case"),
    ("provider_events", "event_id", "", "event_id_is_1_to_255_characters"),
    ("provider_events", "event_id", LONG * 2, "event_id_is_1_to_255_characters"),
    ("templates", "name", "a b", "name_is_1_to_128_letters_digits_dots_dashes"),
    ("inbox_counters", "unread", -1, "unread_is_not_negative"),
    ("outbox", "origin", "nowhere", "origin_is_producer_schedule_or_api"),
]
PAIRED = ("expires_at", "2026-01-01T00:00:00Z", "expires_at_is_after_deliver_at")
# What is wrong only beside something else, or only in a row that the service writes.
TOGETHER: list[tuple[str, dict[str, Any], str]] = [
    ("notifications", {"digest_key": "k", "digest_window": 0}, "digest_window_is_1_to_604800_seconds"),
    (
        "notifications",
        {"escalate_after": 0, "escalate_channels": ["email"]},
        "escalate_after_is_1_to_2592000_seconds",
    ),
    ("notifications", {"escalate_channels": ["email"]}, "escalate_channels_are_given_with_escalate_after"),
    ("notifications", {"escalate_after": 60}, "escalate_channels_are_given_with_escalate_after"),
]
UNKNOWN: list[tuple[str, Any, str, str]] = [
    ("escalate_after", 60, "escalate_channels_are_behind_inapp", "inapp must be one of the channels"),
    ("channels", ["inapp", "fax"], "channels_are_known", "channel 'fax' in column \"channels\" is not known"),
    ("channels", ["fax", "fax"], "channels_are_known", "channel 'fax' in column \"channels\" is not known"),
    ("channels", [None], "channels_are_known", 'channel NULL in column "channels" is not known'),
    ("channels", ["inapp", None], "channels_are_known", 'channel NULL in column "channels" is not known'),
    ("channels", ["inapp", "inapp"], "channels_are_distinct", "a channel stands twice"),
    ("channels", ["sms", "inapp", "sms"], "channels_are_distinct", "stands twice .*: {sms,inapp,sms}"),
    ("template_name", "nowhere", "template_name_is_known", "template 'nowhere' in column"),
]
LEFT_OUT = "left_out_is_canceled_or_expired"
CASES = [("notifications", *case) for case in NOTIFICATION] + OTHERS + HOOKS + ADMINISTRATION


async def write(conn: Connection, table: str, **changed: Any) -> str:
    """Insert the good row with these columns changed, as any client could."""
    return await insert(conn, table, GOOD[table] | changed)


async def insert(conn: Connection, table: str, row: dict[str, Any]) -> str:
    columns = ", ".join(row)
    return await conn.execute(
        f"INSERT INTO notify.{table} ({columns}) "
        f"SELECT {columns} FROM jsonb_populate_record(NULL::notify.{table}, $1)",
        json.dumps(row),
    )


async def parent(conn: Connection, table: str) -> dict[str, str]:
    """What rows of this table refer to, made beforehand."""
    if table not in {"scheduled", "deliveries", "provider_events", "push_attempts"}:
        return {}
    await write(conn, "notifications")
    return {"notification_id": str(await conn.fetchval("SELECT id FROM notify.notifications"))}


async def test_the_good_rows_are_good(admin: Connection) -> None:
    await admin.execute("DELETE FROM notify.veil_key")  # of which there is one
    for table in GOOD:
        assert await write(admin, table, **await parent(admin, table)) == "INSERT 0 1", table


async def test_a_bad_value_breaks_the_constraint_that_names_it(admin: Connection) -> None:
    parents = {table: await parent(admin, table) for table in GOOD}
    for table, column, value, constraint in CASES:
        with pytest.raises(asyncpg.CheckViolationError) as caught:
            await write(admin, table, **parents[table], **{column: value})
        assert caught.value.constraint_name == constraint, (table, column, value)


async def test_an_end_before_the_beginning_is_refused(admin: Connection) -> None:
    column, value, constraint = PAIRED
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await write(admin, "notifications", deliver_at=value, **{column: value})
    assert caught.value.constraint_name == constraint


async def test_values_that_do_not_fit_each_other_are_refused(admin: Connection) -> None:
    for table, changed, constraint in TOGETHER:
        with pytest.raises(asyncpg.CheckViolationError) as caught:
            await write(admin, table, **changed)
        assert caught.value.constraint_name == constraint, changed


async def test_an_item_is_left_out_of_a_digest_for_a_known_reason(admin: Connection) -> None:
    await write(admin, "notifications")
    id_ = await admin.fetchval("SELECT id FROM notify.notifications")
    await admin.execute(
        "INSERT INTO notify.digests (id, user_id, channel, key, closes_at) VALUES ($1, 'u', 'email', 'k', now())",
        id_,
    )
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await admin.execute(
            "INSERT INTO notify.digest_items (notification_id, channel, digest_id, left_out) "
            "VALUES ($1, 'email', $1, 'whim')",
            id_,
        )
    assert caught.value.constraint_name == LEFT_OUT


async def test_every_check_of_the_schema_has_a_case(admin: Connection) -> None:
    rows = await admin.fetch(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'notify'::regnamespace"
        " UNION SELECT tgname FROM pg_trigger WHERE tgfoid = 'notify.refuse'::regproc"
    )
    tried = {constraint for *_, constraint in [*CASES, *TOGETHER]} | {PAIRED[-1], LEFT_OUT}
    assert {row["conname"] for row in rows} == tried


async def test_a_row_from_before_a_rule_can_still_be_switched_off(admin: Connection) -> None:
    """Its other columns are nobody's business but its own."""
    for table, column, value in (
        ("user_channel_prefs", "event_type", "order*"),
        ("channels", "kind", "email"),
    ):
        await admin.execute(f"ALTER TABLE notify.{table} DISABLE TRIGGER USER")
        await write(admin, table, **{column: value})
        await admin.execute(f"ALTER TABLE notify.{table} ENABLE TRIGGER USER")
        done = await admin.execute(f"UPDATE notify.{table} SET enabled = false WHERE {column} = $1", value)
        assert done.startswith("UPDATE")
        assert done != "UPDATE 0"


async def test_the_outbox_refuses_what_a_notification_refuses(
    producer: Connection, admin: Connection
) -> None:
    for column, value, constraint in NOTIFICATION:
        with pytest.raises(asyncpg.CheckViolationError) as caught:
            await insert(producer, "outbox", PLAIN | {column: value})
        # Whether a template exists is asked before whether its name could be one.
        expected = "template_name_is_known" if column == "template_name" else constraint
        assert caught.value.constraint_name == expected, (column, value)
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 0


async def test_the_outbox_refuses_names_that_nobody_knows(producer: Connection) -> None:
    for column, value, constraint, said in UNKNOWN:
        with pytest.raises(asyncpg.CheckViolationError, match=said) as caught:
            await insert(producer, "outbox", PLAIN | {column: value})
        assert (caught.value.constraint_name, caught.value.column_name) == (constraint, column)


async def test_of_what_nobody_knows_the_channels_are_named_first(producer: Connection) -> None:
    wrong = {
        "channels": ["email", "email"],
        "template_name": "nowhere",
        "escalate_after": 60,
        "event_type": "",
    }
    named = []
    for mended in ({}, {"channels": ["email"]}, {"template_name": None}, {"escalate_after": None}):
        wrong |= mended
        with pytest.raises(asyncpg.CheckViolationError) as caught:
            await insert(producer, "outbox", PLAIN | wrong)
        named.append(caught.value.constraint_name)
    assert named == [
        "channels_are_distinct",
        "template_name_is_known",
        "escalate_channels_are_behind_inapp",
        "event_type_is_1_to_128_letters_digits_dots_dashes_colons",
    ]


@pytest.mark.parametrize("channels", ["{{inapp}}", "{{inapp},{email}}", "{{inapp,email}}"])
async def test_the_outbox_refuses_channels_in_more_than_one_dimension(
    producer: Connection, channels: str
) -> None:
    with pytest.raises(asyncpg.FeatureNotSupportedError):
        await producer.execute(
            f"INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('a', 'u', '{channels}')"
        )


async def test_the_outbox_refuses_channels_that_are_null(producer: Connection) -> None:
    with pytest.raises(asyncpg.NotNullViolationError) as caught:
        await insert(producer, "outbox", PLAIN | {"channels": None})
    assert caught.value.column_name == "channels"


async def test_the_bounds_of_the_calendar_belong_to_it(admin: Connection) -> None:
    first, last = "2000-01-01T00:00:00Z", "2200-01-01T00:00:00Z"
    assert await write(admin, "notifications", deliver_at=first, expires_at=last) == "INSERT 0 1"
    for column, value in (("deliver_at", "-infinity"), ("expires_at", first[:-1] + "+00:01")):
        with pytest.raises(asyncpg.CheckViolationError, match=f"{column}_is_between_2000_and_2200"):
            await write(admin, "notifications", **{column: value})


async def test_the_outbox_refuses_a_row_without_what_is_needed(producer: Connection) -> None:
    for column in PLAIN:
        with pytest.raises(asyncpg.NotNullViolationError) as caught:
            await insert(producer, "outbox", {key: value for key, value in PLAIN.items() if key != column})
        assert caught.value.column_name == column
