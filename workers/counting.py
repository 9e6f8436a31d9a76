"""What a batch's end tells metrics and logs."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from db.delivery import Settlement, Status, Undecodable
from outbox.log import get
from workers import metrics
from workers.job import Settled

log = get("worker")


def count(settled: Sequence[Settled], channel: str) -> None:
    """Metrics and logs of a batch; grouped first, because a metric's labels are looked up slowly."""
    for status, number in Counter(item.settlement.status for item in settled).items():
        metrics.PROCESSED.labels(channel, status.value).inc(number)
    errors = Counter(item.settlement.error_class for item in settled if item.settlement.error_class)
    for error_class, number in errors.items():
        metrics.FAILED.labels(channel, error_class).inc(number)
    seconds, now = metrics.SECONDS.labels(channel), datetime.now(UTC)
    for item in settled:
        if item.settlement.status is Status.DELIVERED:
            wanted_at = item.job.entry.envelope.wanted_at
            seconds.observe(max((now - wanted_at).total_seconds(), 0.0))
        elif item.settlement.dead:
            metrics.DEAD.labels(channel).inc()
            with item.job.span.within():
                tell_dead(item.settlement, channel)


def count_undecodable(entries: Sequence[Undecodable], channel: str) -> None:
    metrics.FAILED.labels(channel, "undecodable").inc(len(entries))
    metrics.DEAD.labels(channel).inc(len(entries))
    for entry in entries:
        log.warning(
            "worker.undecodable",
            channel=channel,
            notification_id=str(entry.notification_id) if entry.notification_id else None,
            entry_id=entry.entry_id,
            reason=entry.reason,
        )


def tell_dead(settlement: Settlement, channel: str) -> None:
    log.warning(
        "worker.dead_letter",
        channel=channel,
        notification_id=str(settlement.notification_id),
        error_class=settlement.error_class,
        reason=settlement.reason,
    )
