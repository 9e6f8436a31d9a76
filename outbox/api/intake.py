"""From a request's document to notifications that keep every rule, and on into the outbox."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from db import notifications, producer
from db.pool import Executor
from outbox import rules
from outbox.api.problems import invalid
from outbox.envelope import Notification
from outbox.errors import InvalidNotificationError
from outbox.producer import to_row, translated, uuid7
from outbox.trace_context import here

BATCH = 1000
KEY_HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A notification that is committed. `replayed`: its dedup_key was taken, and this is the first one's id."""

    id: UUID
    replayed: bool


def read_one(document: dict[str, Any], headers: Mapping[str, str]) -> Notification:
    """The notification in a document; headers fill what it leaves open. Raises ProblemError, 422."""
    key = headers.get(KEY_HEADER)
    given = document.get("dedup_key")
    if key is not None and given is not None and key != given:
        raise invalid(
            InvalidNotificationError("dedup_key", f"differs from the header {KEY_HEADER}; give one of them")
        )
    filled = document | cause(document)
    if key is not None:
        filled["dedup_key"] = key
    try:
        return Notification.model_validate(filled)
    except ValidationError as error:
        broken = rules.of_model(error)
        if given is None:
            broken = [name_header(each) for each in broken]
        raise invalid(*broken) from None


def name_header(error: InvalidNotificationError) -> InvalidNotificationError:
    return InvalidNotificationError(KEY_HEADER, error.rule) if error.field == "dedup_key" else error


def cause(document: Mapping[str, Any]) -> dict[str, str]:
    """The trace of this request, for a notification that names none of its own."""
    traceparent = here()
    return {"traceparent": traceparent} if traceparent and document.get("traceparent") is None else {}


def read_batch(document: dict[str, Any], headers: Mapping[str, str]) -> list[Notification]:
    """Every notification of a batch. Raises ProblemError, 422, with all that is wrong, each named by its index."""
    items = document.get("notifications")
    if not isinstance(items, list) or not 1 <= len(items) <= BATCH:
        raise invalid(InvalidNotificationError("notifications", f"must be a list of 1 to {BATCH}"))
    if odd := [key for key in document if key != "notifications"]:
        raise invalid(*(InvalidNotificationError(key, "is not a field of a batch") for key in odd))
    if KEY_HEADER in headers:
        raise invalid(
            InvalidNotificationError(KEY_HEADER, "is for one notification; give each its dedup_key")
        )
    read, broken = [], []
    for index, item in enumerate(items):
        try:
            filled = item | cause(item) if isinstance(item, dict) else item
            read.append(Notification.model_validate(filled))
        except ValidationError as error:
            broken += [at(index, each) for each in rules.of_model(error)]
    if broken:
        raise invalid(*broken)
    return read


def at(index: int, error: InvalidNotificationError) -> InvalidNotificationError:
    field = "" if error.field == rules.WHOLE else f".{error.field}"
    return InvalidNotificationError(f"notifications.{index}{field}", error.rule)


async def accept(conn: Executor, notification: Notification) -> Accepted:
    """Committed when it returns: one statement, in a transaction of its own.

    Raises InvalidNotificationError; asyncpg's errors and TimeoutError when Postgres is away.
    """
    identity = uuid7()
    with translated():
        first = await producer.insert(conn, to_row(identity, notification)) or identity
    return Accepted(first, replayed=first != identity)


async def accept_batch(conn: Executor, batch: Sequence[Notification]) -> list[Accepted]:
    """All of them committed when it returns, or none. Raises as `accept`, and ProblemError naming each index."""
    ids = [uuid7() for _ in batch]
    try:
        with translated():
            shipped = await producer.insert_many(conn, list(map(to_row, ids, batch)))
    except InvalidNotificationError as error:
        raise invalid(*(await locate(conn, batch) or [at_unknown(error)])) from None
    if shipped == len(batch):
        return [Accepted(identity, replayed=False) for identity in ids]
    keys = [item.dedup_key for item in batch if item.dedup_key is not None]
    first = await notifications.ids_of_keys(conn, keys)
    found = [first.get(item.dedup_key or "", own) for own, item in zip(ids, batch, strict=True)]
    return [Accepted(each, replayed=each != own) for own, each in zip(ids, found, strict=True)]


async def locate(conn: Executor, batch: Sequence[Notification]) -> list[InvalidNotificationError]:
    """Which items name a channel or a template that the database does not know: the model cannot tell."""
    channels = await notifications.known_channels(conn)
    templates = await notifications.known_templates(conn, {n.template_name for n in batch if n.template_name})
    return [
        at(index, error)
        for index, notification in enumerate(batch)
        for error in unknown_names(notification, channels, templates)
    ]


def unknown_names(
    notification: Notification, channels: Sequence[str], templates: set[str]
) -> list[InvalidNotificationError]:
    broken = [
        InvalidNotificationError(
            f"channels.{place}", f"{name!r} is not known; known are {', '.join(channels)}"
        )
        for place, name in enumerate(notification.channels)
        if name not in channels
    ]
    if notification.template_name is not None and notification.template_name not in templates:
        broken.append(
            InvalidNotificationError("template_name", f"{notification.template_name!r} does not exist")
        )
    return broken


def at_unknown(error: InvalidNotificationError) -> InvalidNotificationError:
    return InvalidNotificationError(f"notifications.*.{error.field}", error.rule)
