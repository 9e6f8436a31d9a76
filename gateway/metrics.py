"""What the gateway counts."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

SOCKETS = Gauge("outbox_gateway_sockets", "Sockets and event streams open and authenticated.")
USERS = Gauge("outbox_gateway_users", "Users with at least one socket here.")
SUBSCRIBED = Gauge("outbox_gateway_subscribed", "1 while the pub/sub connection is up and subscribed.")
OPENED = Counter("outbox_gateway_opened", "Sockets admitted.")
REFUSED = Counter("outbox_gateway_refused", "Sockets not admitted.", ["reason"])
CLOSED = Counter("outbox_gateway_closed", "Sockets ended by the gateway, by close code.", ["code"])
FRAMES = Counter("outbox_gateway_frames", "Frames sent, by type.", ["type"])
HINTS = Counter("outbox_gateway_hints", "Changes published to users with a socket here.", ["outcome"])
BAD_FRAMES = Counter("outbox_gateway_bad_frames", "Frames from clients that were none.")
CHANGES = Counter("outbox_gateway_changes", "Changes asked for by clients.", ["type", "outcome"])
HEALED = Counter("outbox_gateway_healed", "Users found behind by the reconciliation: a hint was lost.")
CATCH_UP = Histogram(
    "outbox_gateway_catch_up_seconds",
    "Reading from Postgres what a socket lacks, waiting for a turn included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


@cache
def sent(kind: str) -> Counter:
    """FRAMES of one type: it is counted once a frame, and the look-up by label costs more than the counting."""
    return FRAMES.labels(kind)
