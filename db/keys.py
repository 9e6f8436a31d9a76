"""API keys: rows that programs come in with. Their secrets are not here, only what proves one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.pool import Executor
from db.statements import load

SQL = load("keys")


@dataclass(frozen=True, slots=True)
class Terms:
    """What whoever makes a key decides. None: any event type, any channel, the rate of all producers, no end."""

    name: str
    scopes: Sequence[str]
    event_types: Sequence[str] | None = None
    channels: Sequence[str] | None = None
    rate: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A row, without the hash."""

    id: str
    name: str
    scopes: Sequence[str]
    event_types: Sequence[str] | None
    channels: Sequence[str] | None
    rate: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class Presented:
    """What is asked of a key that somebody shows."""

    id: str
    hash: bytes
    scopes: Sequence[str]
    event_types: Sequence[str] | None
    channels: Sequence[str] | None
    rate: str | None
    expires_at: datetime | None
    revoked_at: datetime | None


async def add(executor: Executor, id_: str, hash_: bytes, terms: Terms, created_by: str) -> ApiKey:
    row = await executor.fetchrow(
        SQL["add"], id_, terms.name, hash_, *facts(terms), created_by, terms.expires_at
    )
    return ApiKey(**dict(row or {}))


async def presented(executor: Executor, id_: str) -> Presented | None:
    row = await executor.fetchrow(SQL["presented"], id_)
    return Presented(**dict(row)) if row else None


async def key(executor: Executor, id_: str) -> ApiKey | None:
    return key_of(await executor.fetchrow(SQL["key"], id_))


async def page(executor: Executor, after: str | None, limit: int, *, over: bool = False) -> list[ApiKey]:
    """Newest first, from behind the key `after` on. `over`: those revoked or expired, too."""
    return [ApiKey(**dict(row)) for row in await executor.fetch(SQL["page"], after, limit, over)]


async def change(executor: Executor, id_: str, version: int | None, terms: Terms) -> ApiKey | None:
    """None where there is none of that version that is not revoked."""
    row = await executor.fetchrow(SQL["change"], id_, version, terms.name, *facts(terms), terms.expires_at)
    return key_of(row)


async def revoke(executor: Executor, id_: str) -> ApiKey | None:
    """None where there is nothing to revoke."""
    return key_of(await executor.fetchrow(SQL["revoke"], id_))


async def touch(executor: Executor, ids: Sequence[str]) -> None:
    await executor.execute(SQL["touch"], list(ids))


def facts(terms: Terms) -> tuple[Any, ...]:
    return list(terms.scopes), terms.event_types, terms.channels, terms.rate


def key_of(row: Any) -> ApiKey | None:
    return ApiKey(**dict(row)) if row else None
