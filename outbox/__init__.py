"""The producer's side of Outbox: `await outbox.enqueue(conn, …)` in your own transaction."""

from typing import TYPE_CHECKING, Any

from outbox.envelope import Envelope, Notification, Priority

if TYPE_CHECKING:
    from outbox.producer import enqueue, enqueue_sync

__all__ = ["Envelope", "Notification", "Priority", "enqueue", "enqueue_sync"]


def __getattr__(name: str) -> Any:
    # Lazy, because enqueue needs db, and db's users need outbox.envelope: arrows point one way.
    if name in {"enqueue", "enqueue_sync"}:
        from outbox import producer  # noqa: PLC0415 - see above

        return getattr(producer, name)
    raise AttributeError(f"module 'outbox' has no attribute {name!r}")
