"""What the relay tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

CREATED = Counter("notifications_created_total", "Notifications put into a stream first.", ["channel"])
QUEUE_LENGTH = Gauge("notifications_queue_length", "Entries in a stream.", ["stream"])
PENDING = Gauge("notifications_pending_messages", "Entries taken but not settled.", ["group", "stream"])
PENDING_SECONDS = Gauge(
    "notifications_pending_oldest_seconds",
    "Age of the oldest entry taken but not settled, from when it was put into the stream; 0: there is none.",
    ["group", "stream"],
)
OLDEST_SECONDS = Gauge(
    "notifications_queue_oldest_seconds", "Age of the oldest entry in a stream; 0: it is empty.", ["stream"]
)
LEADER = Gauge("outbox_relay_leader", "1 while this relay leads, by its lease as it knows it.")
LAG_SECONDS = Gauge("outbox_relay_lag_seconds", "Time since every committed row was known to be in Redis.")
LAG_ROWS = Gauge("outbox_relay_lag_rows", "Committed rows that no tick holds yet; 10,000: or more.")
TICKS = Counter("outbox_relay_ticks_total", "Ticks made.")
SHIPPED = Counter("outbox_relay_entries_total", "Entries appended.", ["stream"])
SKIPPED = Counter("outbox_relay_entries_skipped_total", "Entries found there already.", ["stream"])
SHIP_SECONDS = Histogram(
    "outbox_relay_ship_seconds",
    "Time from the look at the log to the tick being whole in Redis.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
WAKE_UPS = Counter("outbox_relay_wake_ups_total", "Looks that found rows, by what caused them.", ["cause"])
PROMOTED = Counter("outbox_relay_promoted_total", "Scheduled rows put into the outbox.")
SHARDS = Gauge("outbox_relay_shards", "Streams that each lane of a channel is cut into.", ["channel"])
BEHIND = Gauge("outbox_relay_stream_behind", "1 while a stream is full or being refilled.", ["stream"])
LOSSES = Counter("outbox_relay_redis_losses_total", "Times a stream had lost entries.", ["stream"])
LISTENING = Gauge("outbox_relay_listening", "1 while the LISTEN connection has proved itself alive.")
REFILLED = Counter(
    "outbox_relay_entries_refilled_total",
    "Entries appended to a stream that had fallen behind: put back after a loss, or held up as it was full.",
    ["stream"],
)
PARTITIONS = Gauge("outbox_relay_partitions", "Partitions of the outbox.")
PARTITION_ROWS = Gauge("outbox_relay_partition_rows", "Ids that one partition of the outbox is made for.")
PARTITION_ROWS_AHEAD = Gauge(
    "outbox_relay_partition_rows_ahead", "Ids that partitions are there for and nobody has drawn yet."
)
PARTITIONS_EXPIRED = Gauge(
    "outbox_relay_partitions_expired",
    "Partitions past the retention that are still there, as one of their rows is in a stream, or is locked.",
)
PURGED = Counter("outbox_relay_purged_rows_total", "Rows that went with old notifications.", ["table"])
PURGE_BEHIND = Gauge(
    "outbox_relay_purge_behind_seconds",
    "For how long the oldest notification not looked at yet could have been gone; no figure without a retention.",
)
UPKEEP_AT = Gauge("outbox_relay_upkeep_timestamp_seconds", "When this relay last saw to the partitions.")
COLLISIONS = Counter("outbox_relay_collisions_total", "Ticks that another relay had made first.")

OF_THE_LEADER = (QUEUE_LENGTH, PENDING, PENDING_SECONDS, OLDEST_SECONDS, BEHIND)
COUNTED_BY_THE_LEADER = (LAG_ROWS, PARTITIONS, PARTITION_ROWS_AHEAD, PARTITIONS_EXPIRED, PURGE_BEHIND)
PURGE_BEHIND.set(float("nan"))


def stand_by() -> None:
    """Only the leader looks at the streams and the log: a standby says nothing of them rather than what it knew."""
    for gauge in OF_THE_LEADER:
        gauge.clear()
    for gauge in COUNTED_BY_THE_LEADER:
        gauge.set(float("nan"))
