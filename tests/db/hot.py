"""The hot statements, as the service calls them in a seeded database, and what their plans may do."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from db import (
    browse,
    dead,
    delivery,
    erasure,
    inbox,
    inbox_pages,
    notifications,
    preferences,
    push,
    recipients,
    rules,
    sms,
    statistics,
    suppressions,
    survey,
)
from db import relay as sql
from db.delivery import Claimant, Settlement, Status
from db.pool import Connection
from db.push import DeviceResult, DeviceStatus, Platform
from db.statistics import Grouping
from relay.look import TICK_BYTES, TICK_ROWS
from relay.quick import QUICK_BYTES, QUICK_ROWS
from relay.relay import BY_INDEX
from tests.db.seeded import FIRST_XID, PARTITIONS, ROWS_PER_XID, SOLO_ROWS, SOLO_XID, TAIL, USER_ITEMS, uuid
from tests.db.seeded import NEWEST as NEWEST_ROW

Call = Callable[[Connection, int], Awaitable[Any]]
LOG, TICKS, TICK_MS, DUE = "outbox_xid_id_idx", "relay_ticks_pkey", "relay_ticks_ms", "scheduled_due_at"
PLACEMENTS = "placements_pkey"
SLOTS = sql.Slots(4, ["email"])
NOTIFICATIONS, DELIVERIES, INBOX = "notifications_pkey", "deliveries_pkey", "inbox_pkey"
COUNTERS = "inbox_counters_pkey"
BATCH, TOKEN = 64, UUID(int=7)
OVERDUE = 50


@dataclass(frozen=True, slots=True)
class Hot:
    """`call` gets a connection and the number of rows in the log."""

    name: str
    call: Call
    indexes: set[str]  # all that it uses
    rows: int  # that it may read, whatever the tables hold
    sorts: int = 0
    partitions: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def by_relay(
    name: str, call: Call, index: set[str], rows: int, sorts: int = 0, partitions: int | None = None
) -> Hot:
    return Hot(name, call, index, rows, sorts, partitions, BY_INDEX)


def ticked(size: int) -> int:
    """Where the last tick's snapshot ends."""
    return FIRST_XID + (size - TAIL) // ROWS_PER_XID


def after_ticks(conn: Connection, size: int, xip: list[int]) -> Awaitable[Any]:
    return sql.look(conn, sql.Wanted(ticked(size), xip, TICK_ROWS + 1, TICK_BYTES, 0))


async def look_and_tick(conn: Connection, size: int, rows: int, fits: bool, after: int = 0) -> None:
    """At the end of the log, where `rows` are left to find."""
    head = sql.TickHead(no=10**6, after_ms=0, tops={"inapp": "1-1"}, behind=[], floor=after)
    xmax = FIRST_XID + (size - rows) // ROWS_PER_XID + 1
    wanted = sql.Wanted(xmax, [1999], QUICK_ROWS, QUICK_BYTES, after)
    records = await sql.look_and_tick(conn, head, wanted)
    assert (records[0]["ms"] is not None) == fits


SPAN = (2000, 2100, [1999], "2100:2100:")  # a thousand rows of old, and one transaction that was in progress
SPAN_ROWS = 101 * ROWS_PER_XID
PAGE = TICK_ROWS + 1

RELAY = [
    by_relay("look", lambda c, n: after_ticks(c, n, []), {LOG}, TAIL + 1, sorts=2),
    by_relay("look_late", lambda c, n: after_ticks(c, n, [1999]), {LOG}, TAIL + 1 + ROWS_PER_XID, sorts=2),
    by_relay(
        "look_above_floor",
        lambda c, n: sql.look(c, sql.Wanted(ticked(n), [1999], TICK_ROWS + 1, TICK_BYTES, n - TAIL)),
        {LOG},
        TAIL + 1,
        sorts=2,
        partitions=3,  # the last with rows, the one ahead, the default
    ),
    # One row more from each partition, where their indexes are merged.
    by_relay(
        "look_backlog",
        lambda c, n: sql.look(c, sql.Wanted(1, [], PAGE, TICK_BYTES, 0)),
        {LOG},
        PAGE + 5,
        sorts=2,
    ),
    # Ten rows of the transaction that was in progress; fifty at the end; sorted by block.
    by_relay(
        "look_and_tick", lambda c, n: look_and_tick(c, n, 50, True), {LOG, TICKS}, 3 * (50 + 10), sorts=1
    ),
    by_relay(
        "look_and_tick_too_many",
        lambda c, n: look_and_tick(c, n, TAIL, False),
        {LOG, TICKS},
        3 * QUICK_ROWS,
        sorts=1,
    ),
    by_relay(
        "look_and_tick_above_floor",
        lambda c, n: look_and_tick(c, n, 50, True, n - TAIL),
        {LOG, TICKS},
        3 * 50,
        sorts=1,
        partitions=3,
    ),
    by_relay("tick_rows", lambda c, n: sql.tick_rows(c, SPAN, 0), {LOG}, SPAN_ROWS, sorts=1),
    by_relay(
        "look_sharded",
        lambda c, n: sql.look(c, sql.Wanted(ticked(n), [], TICK_ROWS + 1, TICK_BYTES, 0), SLOTS),
        {LOG},
        TAIL + 1,
        sorts=2,
    ),
    by_relay("tick_rows_sharded", lambda c, n: sql.tick_rows(c, SPAN, 0, SLOTS), {LOG}, SPAN_ROWS, sorts=1),
    by_relay(
        "unsettled_rows_of_a_shard",
        lambda c, n: sql.unsettled_rows(c, SPAN, sql.Share("inapp", "normal", 4, 1), 0, 2**31),
        {LOG, DELIVERIES, NOTIFICATIONS},
        3 * SPAN_ROWS,
        sorts=1,
    ),
    by_relay("solo_rows", lambda c, n: sql.solo_rows(c, SOLO_XID, SOLO_ROWS // 2, 500), {LOG}, 500, sorts=1),
    by_relay("solo_top", lambda c, n: sql.solo_top(c, SOLO_XID), {LOG}, 1),
    by_relay(
        "unsettled_rows",
        lambda c, n: sql.unsettled_rows(c, SPAN, sql.Share("inapp", "normal"), 0, 2**31),
        {LOG, DELIVERIES, NOTIFICATIONS},
        3 * SPAN_ROWS,
        sorts=1,  # by id, across transactions
    ),
    by_relay("backlog", lambda c, n: sql.backlog(c, ticked(n), [1999], 0), {LOG}, TAIL + ROWS_PER_XID),
    by_relay("last_ticks", lambda c, n: sql.last_ticks(c), {TICKS, PLACEMENTS}, 2),
    by_relay("ticks_from", lambda c, n: sql.ticks_from(c, 5, 10), {TICKS, PLACEMENTS}, 10),
    by_relay("tick_at", lambda c, n: sql.tick_at(c, 1700000000105), {TICK_MS}, 1),
    by_relay("edge_ticks", lambda c, n: sql.edge_ticks(c), {TICKS, TICK_MS}, 2),
    by_relay("next_due", lambda c, n: sql.next_due(c), {DUE}, 1),
    by_relay(
        "promote_due",
        lambda c, n: sql.promote_due(c, 1000),
        {DUE, "scheduled_pkey", NOTIFICATIONS},
        3 * OVERDUE + 1,
        sorts=1,
    ),
    Hot("newest_row_at", lambda c, n: sql.newest_row_at(c, n // 4, n // 2), {LOG}, 1, partitions=1),
]


async def claim(conn: Connection, first: int, channel: str) -> None:
    who = Claimant(channel, "worker", TOKEN, 60, contacts=channel != "inapp")
    ids = [UUID(uuid(first + i)) for i in range(BATCH)]
    assert all(claim.attempts for claim in await delivery.claim(conn, who, ids, [0] * BATCH))


async def settle(conn: Connection) -> None:
    results = [
        Settlement(UUID(uuid(i)), TOKEN, Status.DELIVERED, "delivered", 1) for i in range(1, BATCH + 1)
    ]
    await delivery.settle(conn, "inapp", results)


async def give_back(conn: Connection) -> None:
    await delivery.give_back(conn, "inapp", [(UUID(uuid(i)), TOKEN, 0) for i in range(1, BATCH + 1)])


async def settle_in_inbox(conn: Connection, size: int) -> None:
    """Claimed first, so that all of them are placed."""
    await claim(conn, size - TAIL + 1, "inapp")
    ids = [UUID(uuid(size - TAIL + 1 + i)) for i in range(BATCH)]
    done = [Settlement(id_, TOKEN, Status.DELIVERED, "delivered", 1) for id_ in ids]
    placed = await delivery.settle_in_inbox(conn, "inapp", [(one, f"u{i}") for i, one in enumerate(done)])
    assert sum(place.seq is not None for place in placed.values()) == BATCH


def digests(size: int) -> list[UUID]:
    """Some, of ten items each."""
    return [UUID(uuid(size * 4 + i)) for i in range(1, 5)]


PREFERENCES = "user_channel_prefs_pkey"
CLAIM = {NOTIFICATIONS, DELIVERIES, PREFERENCES}
CONTACT = {"recipients_pkey", "suppressions_pkey", "veiled_suppressions_pkey"}
WORKER = [
    Hot("claim", lambda c, n: claim(c, n - TAIL + 1, "inapp"), CLAIM, 4 * BATCH, sorts=3),
    Hot("claim_email", lambda c, n: claim(c, n - TAIL + 1, "email"), CLAIM | CONTACT, 8 * BATCH, sorts=3),
    Hot("settle", lambda c, n: settle(c), {DELIVERIES}, 2 * BATCH, sorts=1),
    Hot("give_back", lambda c, n: give_back(c), {DELIVERIES}, 2 * BATCH, sorts=1),
    Hot("settle_in_inbox", settle_in_inbox, CLAIM | {"inbox_notification_id"}, 4 * BATCH, sorts=4),
    Hot(
        "close_digests",
        lambda c, n: c.execute(rules.SQL["close_digests"], digests(n)),
        {"digests_pkey"},
        8,
        sorts=1,
    ),
    Hot(
        "list_digests",
        lambda c, n: c.fetch(rules.SQL["list_digests"], digests(n), 100, 10_000),
        {"digests_pkey", "digest_items_digest_id", NOTIFICATIONS},
        90,
        sorts=4,
    ),
    Hot(
        "finish_digests",
        lambda c, n: rules.finish_digests(c, "sms", digests(n)),
        {"digest_items_digest_id", DELIVERIES},
        4 * 40,
        sorts=1,
    ),
    Hot(
        "tell_ends",
        lambda c, n: rules.tell_ends(c, "sms", dict.fromkeys(digests(n), "it failed")),
        {"digest_items_digest_id", DELIVERIES},
        4 * 40,
        sorts=1,
    ),
    Hot("inbox_counts", lambda c, n: delivery.inbox_counts(c, ["u1", "heavy"]), {COUNTERS}, 2),
]

ERASURE = [
    Hot("log_edge", lambda c, n: erasure.log_edge(c, FIRST_XID + 50, 500), {LOG}, 501),
    Hot(
        "pick",
        lambda c, n: c.fetch(erasure.SQL["pick"], "u7", 200),
        {"notifications_user_id"},
        USER_ITEMS + 1,
        sorts=1,
    ),
    Hot(
        "forget_actor",
        lambda c, n: erasure.forget_actor(c, "u7", 100),
        {"notifications_actor_user_id", NOTIFICATIONS},
        1,
    ),
]

HEAVY, ITEMS = "heavy", {INBOX, NOTIFICATIONS}
GATEWAY = [
    Hot("counters", lambda c, n: inbox.counters(c, HEAVY), {COUNTERS}, 1),
    Hot("versions", lambda c, n: inbox.versions(c, ["u1", "u2", HEAVY]), {COUNTERS}, 3),
    Hot("items", lambda c, n: inbox.items(c, HEAVY, (10, n), 50), ITEMS, 100),
    # The caller bounds the span to 500; where so many are expected to be few, it is read whole and sorted.
    Hot("latest", lambda c, n: inbox.latest(c, HEAVY, (n // 10 - 500, n // 10), 50), ITEMS, 550, sorts=1),
    Hot("marks", lambda c, n: inbox.marks(c, HEAVY, (n // 20, n // 20 + 100)), {INBOX}, 100, sorts=1),
    # The caller bounds the span here, too; where few are expected, it is read whole and sorted.
    Hot(
        "below",
        lambda c, n: inbox_pages.below(c, HEAVY, (n // 10 - 500, n // 10 + 1), inbox_pages.Kind(), 50),
        ITEMS,
        550,
        sorts=2,
    ),
    Hot(
        "below_nothing_fits",
        lambda c, n: inbox_pages.below(
            c, HEAVY, (n // 20, n // 20 + 500), inbox_pages.Kind(archived=True), 50
        ),
        ITEMS,
        500,
        sorts=1,
    ),
    Hot("oldest", lambda c, n: inbox_pages.oldest(c, HEAVY), {INBOX}, 1),
    Hot("counts", lambda c, n: inbox_pages.counts(c, "u7"), {COUNTERS, INBOX}, 30),
    Hot(
        "seqs",
        lambda c, n: inbox_pages.seqs(c, HEAVY, [UUID(uuid(n * 2 + i)) for i in range(1, 51)]),
        {"inbox_notification_id"},
        50,
    ),
    Hot("lock", lambda c, n: inbox.lock(c, HEAVY), {COUNTERS}, 1),
    Hot("mark_read", lambda c, n: inbox.mark_read(c, HEAVY, [1, 2, 3]), {INBOX}, 3),
    Hot("mark_read_up_to", lambda c, n: inbox.mark_read_up_to(c, HEAVY, 100), {INBOX}, 100),
    Hot("archive", lambda c, n: inbox.archive(c, HEAVY, [1, 2, 3]), {INBOX}, 3),
    Hot("mark_unread", lambda c, n: inbox.mark_unread(c, HEAVY, [1, 2, 3]), {INBOX}, 3),
    Hot("archive_up_to", lambda c, n: inbox.archive_up_to(c, HEAVY, 100), {INBOX}, 100),
    Hot("unarchive", lambda c, n: inbox.unarchive(c, HEAVY, [1, 2, 3]), {INBOX}, 3),
    Hot("recount", lambda c, n: inbox.recount(c, HEAVY, 1), {COUNTERS}, 1),
]

MESSAGES, OF_NOTIFICATION = "sms_messages_pkey", "sms_messages_notification_id"
EVENTS = "delivery_events_notification_id"
FIRST, FEW = UUID(uuid(1)), [UUID(uuid(i)) for i in range(1, BATCH + 1)]
REPORT = sms.Report(FIRST, "inapp", "SM-1", "delivered", 4)
SMS = [
    Hot("doubts", lambda c, n: sms.doubts(c, "inapp", FEW), {EVENTS, OF_NOTIFICATION}, 3 * BATCH, sorts=1),
    Hot("others", lambda c, n: sms.others(c, "inapp", FIRST, ["SM-1", "SM-2"]), {MESSAGES}, 2),
    Hot("lock_delivery", lambda c, n: sms.lock_delivery(c, FIRST, "inapp"), {DELIVERIES}, 1),
    Hot("report", lambda c, n: sms.report(c, REPORT), {MESSAGES}, 1),
    Hot(
        "resolve",
        lambda c, n: sms.resolve(c, REPORT),
        {DELIVERIES, "notifications_failed_notification_id"},
        2,
    ),
    Hot(
        "fail_undelivered",
        lambda c, n: sms.fail_undelivered(c, "inapp", FEW),
        {DELIVERIES, OF_NOTIFICATION, "notifications_failed_notification_id"},
        2 * BATCH,
    ),
]

PUSH = "push"
NEW = [UUID(uuid(2**40 + i)) for i in range(BATCH)]  # devices and notifications that are in no table
OF_USER, PUSHED, TOKENS = "device_tokens_user_id", "push_attempts_pkey", "device_tokens_platform_token"
DEVICES_EACH = 5  # of an ordinary user, as seeded


async def audiences(conn: Connection, size: int) -> None:
    ids = [UUID(uuid(size - i)) for i in range(BATCH)]
    found = await push.audiences(conn, PUSH, ids)
    assert {len(audience.devices) for audience in found.values()} == {DEVICES_EACH - 1}, "one has it"


async def record_push(conn: Connection, size: int) -> None:
    done = DeviceStatus.DELIVERED
    await push.record(conn, PUSH, [DeviceResult(UUID(uuid(size)), device, done, 1, "fcm") for device in NEW])


async def forget_devices(conn: Connection, size: int) -> None:
    found = await push.devices_of(conn, "u1")
    await push.forget(conn, found)


PUSHING = [
    Hot(
        "push_audiences",
        audiences,
        {NOTIFICATIONS, COUNTERS, OF_USER, PUSHED},
        BATCH * (3 + 3 * DEVICES_EACH),
        sorts=1,
    ),
    Hot("push_record", record_push, set(), 0),
    Hot(
        "push_register", lambda c, n: push.register(c, "u1", Platform.FCM, "token-1"), {OF_USER}, 20, sorts=1
    ),
    Hot("push_unregister", lambda c, n: push.unregister(c, "u1", ["token-1"]), {OF_USER, TOKENS}, 10),
    Hot("push_unregister_all", lambda c, n: push.unregister_all(c, "u1"), {OF_USER}, 10),
    Hot("push_devices_of", lambda c, n: push.devices_of(c, "u1"), {OF_USER}, 10, sorts=1),
    Hot("push_forget", forget_devices, {OF_USER, "device_tokens_pkey"}, 30, sorts=1),
]

NEWEST = browse.Place(browse.END, UUID(int=0))
BY_TIME, BY_USER = "notifications_created_at", "notifications_user_id"
SHOWN = {DELIVERIES, "digest_items_pkey", "scheduled_notification_id"}
LOOKED_AT = 200
LISTED = "suppressions_pkey"


def browsing(name: str, wanted: browse.Wanted, index: str, below: browse.Place = NEWEST) -> Hot:
    """Deliveries and what waits are looked up for those that fit; the sorts are of those looked at."""
    return Hot(
        name,
        lambda c, n: browse.page(c, wanted, below, LOOKED_AT, payloads=False),
        {index} | SHOWN,
        6 * LOOKED_AT,
        sorts=2,
    )


BROWSING = [
    browsing("browse", browse.Wanted(), BY_TIME),
    browsing(
        "browse_deep",
        browse.Wanted(),
        BY_TIME,
        browse.Place(NEWEST_ROW - timedelta(seconds=1), UUID(int=0)),
    ),
    browsing("browse_nothing_fits", browse.Wanted(event_type="login"), BY_TIME),
    browsing("browse_user", browse.Wanted(user_id="u7"), BY_USER),
    browsing("browse_heavy_user", browse.Wanted(user_id="heavy", priority="urgent"), BY_USER),
    browsing("browse_key", browse.Wanted(dedup_key="key-10"), "notifications_dedup_key"),
    Hot(
        "statistics",
        lambda c, n: statistics.count(
            c, (browse.BEGINNING, browse.END), LOOKED_AT, Grouping(channel=True), 10
        ),
        {BY_TIME, DELIVERIES},
        2 * LOOKED_AT,
        sorts=4,  # of what was counted
    ),
    Hot("recipients", lambda c, n: recipients.page(c, "u5", 100), {"recipients_pkey"}, 101),
    Hot("suppressions", lambda c, n: suppressions.page(c, None, ("", ""), 100), {LISTED}, 100),
    Hot(
        "suppressions_of", lambda c, n: suppressions.page(c, "email", ("email", "gone5"), 100), {LISTED}, 100
    ),
    Hot(
        "suppression",
        lambda c, n: suppressions.of_address(c, "Gone7@example.org", None),
        {LISTED, "veiled_suppressions_pkey"},
        5,
        sorts=1,
    ),
]

KEYS = ["key-10", "key-20", "no such key"]
OF_ONE = {NOTIFICATIONS, DELIVERIES, "delivery_events_notification_id", "scheduled_notification_id"}
OF_ONE |= {"digest_items_pkey", "push_attempts_pkey"}
OTHERS = [
    Hot(
        "ids_of_keys",
        lambda c, n: c.fetch(notifications.SQL["ids_of_keys"], KEYS),
        {"notifications_dedup_key"},
        2,
    ),
    Hot("of_user", lambda c, n: preferences.of_user(c, "u1"), {PREFERENCES}, 1, sorts=1),
    Hot(
        "survey_dead_letters",
        lambda c, n: survey.dead_letters(c, BATCH),
        {"notifications_failed_open"},
        6 * BATCH,
    ),
    Hot("survey_oldest_row", lambda c, n: survey.oldest_row(c, BATCH), {LOG, TICKS}, PARTITIONS * BATCH),
    Hot("survey_scheduled", lambda c, n: survey.scheduled(c, BATCH), {DUE}, 2 * BATCH + 1),
    Hot("status", lambda c, n: c.fetch(notifications.SQL["status"], UUID(uuid(1))), OF_ONE, 6, sorts=2),
    Hot(
        "unmirrored",
        lambda c, n: dead.unmirrored(c, 100),
        {"notifications_failed_unmirrored", NOTIFICATIONS},
        100,
        sorts=1,  # of the few that are there
    ),
    Hot(
        "list_dead",
        lambda c, n: dead.list_dead(c, dead.Filter(channel="email"), limit=100),
        {"notifications_failed_open", NOTIFICATIONS},
        201,
    ),
]
HOT = RELAY + WORKER + ERASURE + GATEWAY + SMS + PUSHING + BROWSING + OTHERS
