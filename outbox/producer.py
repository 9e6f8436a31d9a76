"""A notification in the producer's own transaction: there if it commits, and not there if it does not."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Required, TypedDict, TypeVar, Unpack, overload
from uuid import UUID

from pydantic import ValidationError

from db import producer as statements
from outbox import rules
from outbox.envelope import Notification, Priority

if TYPE_CHECKING:  # optional: nobody needs the drivers that he does not use
    import asyncpg
    import psycopg
    from sqlalchemy.engine import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    AsyncConn = (
        asyncpg.Connection[Any]
        | asyncpg.pool.PoolConnectionProxy[Any]
        | psycopg.AsyncConnection[Any]
        | AsyncConnection
        | AsyncSession
        | async_scoped_session[Any]
    )
    SyncConn = psycopg.Connection[Any] | Connection | Session | scoped_session[Any]

Insert = TypeVar("Insert")

# Made once: json.dumps would make an encoder for every payload.
TO_JSON = json.JSONEncoder(ensure_ascii=False).encode


class Fields(TypedDict, total=False):
    """The fields of a notification, as keyword arguments. Their rules are those of outbox.Notification."""

    event_type: Required[str]
    user_id: Required[str]
    actor_user_id: str | None
    channels: list[str]
    payload: dict[str, Any]
    template_name: str | None
    dedup_key: str | None
    priority: Priority | str
    deliver_at: datetime | None
    expires_at: datetime | None
    traceparent: str | None
    digest_key: str | None
    digest_window: int | None
    escalate_after: int | None
    escalate_channels: list[str] | None


@overload
async def enqueue(conn: "AsyncConn", notification: Notification, /) -> UUID: ...
@overload
async def enqueue(conn: "AsyncConn", /, **fields: Unpack[Fields]) -> UUID: ...
async def enqueue(conn: "AsyncConn", notification: Notification | None = None, /, **fields: Any) -> UUID:
    """Write a notification on `conn`, in the transaction that is open there; it commits nothing.

    `conn` is a connection of asyncpg, an AsyncConnection of psycopg 3, or an AsyncConnection or
    AsyncSession of SQLAlchemy. Returns the notification's id; where `dedup_key` is taken, the first one's.

    Raises InvalidNotificationError (field, rule) for what breaks a rule. If it was the database that found
    out, the transaction is aborted, as after any error in Postgres. The driver's own errors pass through.
    """
    insert = chosen(conn, statements.ASYNC, statements.SYNC, "enqueue_sync")
    identity, valid = uuid7(), checked(notification, fields)
    with translated():
        return await insert(conn, to_row(identity, valid)) or identity


@overload
def enqueue_sync(conn: "SyncConn", notification: Notification, /) -> UUID: ...
@overload
def enqueue_sync(conn: "SyncConn", /, **fields: Unpack[Fields]) -> UUID: ...
def enqueue_sync(conn: "SyncConn", notification: Notification | None = None, /, **fields: Any) -> UUID:
    """The same as `enqueue` for a Connection of psycopg 3, or a Connection or Session of SQLAlchemy."""
    insert = chosen(conn, statements.SYNC, statements.ASYNC, "await enqueue")
    identity, valid = uuid7(), checked(notification, fields)
    with translated():
        return insert(conn, to_row(identity, valid)) or identity


def checked(notification: Notification | None, fields: Mapping[str, Any]) -> Notification:
    """The notification, or one of these fields. Raises InvalidNotificationError for the first broken rule."""
    if notification is not None:
        if fields or not isinstance(notification, Notification):
            raise TypeError("give one outbox.Notification, or its fields by name")
        return notification
    try:
        return Notification.model_validate(fields)
    except ValidationError as error:
        raise rules.of_model(error)[0] from None


def to_row(identity: UUID, notification: Notification) -> statements.Row:
    """The values of the insert, in the order of its columns (db/sql/producer.sql), as text."""
    n = notification
    return (
        str(identity),
        n.event_type,
        n.user_id,
        n.actor_user_id,
        array(n.channels),
        TO_JSON(n.payload),
        n.template_name,
        n.dedup_key,
        n.priority.value,
        n.deliver_at.isoformat() if n.deliver_at else None,
        n.expires_at.isoformat() if n.expires_at else None,
        n.traceparent,
        n.digest_key,
        None if n.digest_window is None else str(n.digest_window),
        None if n.escalate_after is None else str(n.escalate_after),
        None if n.escalate_channels is None else array(n.escalate_channels),
    )


def array(channels: list[str]) -> str:
    """A channel's name holds nothing that an array literal would quote."""
    return f"{{{','.join(channels)}}}"


def uuid7() -> UUID:
    """RFC 9562 §5.7: 48 bits of Unix milliseconds, 74 random bits; as notify.uuid7() makes them."""
    random = secrets.randbits(74)
    milliseconds = time.time_ns() // 1_000_000
    return UUID(
        int=milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    )


def chosen(conn: object, known: Mapping[str, Insert], other: Mapping[str, object], otherwise: str) -> Insert:
    """How to insert on this connection. Raises TypeError, which says what can be used."""
    if (insert := find(conn, known)) is not None:
        return insert
    hint = f"; use {otherwise} for it" if find(conn, other) else f"; what can be used is {', '.join(known)}"
    raise TypeError(f"{type(conn).__module__}.{type(conn).__qualname__} is no connection for this{hint}")


def find(conn: object, known: Mapping[str, Insert]) -> Insert | None:
    """By the names of package and class, so that no driver is imported to find out that it is not in use."""
    lineage = (f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(conn).__mro__)
    return next((known[name] for name in lineage if name in known), None)


@contextmanager
def translated() -> Iterator[None]:
    """The database's verdict on a rule as InvalidNotificationError; every other error passes through."""
    try:
        yield
    except statements.driver_errors() as error:
        # Without the cause: its DETAIL quotes the row, payload and all, and would end up in a log.
        if broken := rules.of_database(error):
            raise broken from None
        raise
