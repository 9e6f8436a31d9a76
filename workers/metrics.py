"""What the workers count. The names are part of the public surface: dashboards and alerts rest on them."""

from contextlib import suppress

from prometheus_client import Counter, Gauge, Histogram

from db.delivery import FINAL, Status

PROCESSED = Counter("notifications_processed_total", "Deliveries settled", ["channel", "status"])
FAILED = Counter("notifications_failed_total", "Attempts that failed, by class", ["channel", "error_type"])
SECONDS = Histogram(
    "notification_processing_seconds",
    "From creation, or the time asked for, to delivery",
    ["channel"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
)
IN_FLIGHT = Gauge("outbox_worker_in_flight", "Entries read and not yet acknowledged", ["channel", "lane"])
LIMIT = Gauge(
    "outbox_worker_concurrency_limit",
    "Entries that a lane may hold at once, as its provider's answers allow",
    ["channel", "lane"],
)
CLAIMS = Counter("outbox_worker_claims_total", "Entries by the answer to their claim", ["channel", "answer"])
TAKEN_OVER = Counter("outbox_worker_taken_over_total", "Deliveries taken over from dead workers", ["channel"])
LEASE_LOST = Counter("outbox_worker_lease_lost_total", "Results that came after the lease", ["channel"])
SETTLE_SECONDS = Histogram("outbox_worker_settle_seconds", "One settle transaction", ["channel"])
BATCHES = Histogram(
    "outbox_worker_batch_messages",
    "Messages in one request to a provider that takes many",
    ["provider"],
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000),
)
PROVIDER_ATTEMPTS = Counter(
    "outbox_provider_attempts_total",
    "What providers answered; skipped: not asked, as it failed or throttled before",
    ["channel", "provider", "result"],
)
PROVIDER_SECONDS = Histogram(
    "outbox_provider_seconds",
    "How long a provider took for one message, until it answered or was given up",
    ["channel", "provider"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
DEAD = Counter(
    "outbox_worker_dead_letters_total", "Deliveries and entries that became dead letters", ["channel"]
)
PROVIDER_CIRCUIT = Gauge(
    "outbox_provider_circuit",
    "0 closed, 2 open until a probe gets through, 1 open half an hour ago and not asked since",
    ["channel", "provider"],
)
RATES_BLIND = Counter(
    "outbox_worker_rates_blind_total", "Rates that could not be looked up, as Redis did not answer"
)


def forget_circuit(channel: str, provider: str) -> None:
    """Of a provider that may never be asked again: what it was then would stay for ever."""
    with suppress(KeyError):  # there is none of an endpoint
        PROVIDER_CIRCUIT.remove(channel, provider)


def begin(channel: str) -> None:
    """What alerts rest on is 0 from the beginning: Prometheus sees no increase in the first sample of a series."""
    for status in (*FINAL, Status.RETRYING, Status.DEFERRED):
        PROCESSED.labels(channel, status.value)
    DEAD.labels(channel)
    SECONDS.labels(channel)
