"""The channels: read by workers to know what to work on, changed by the API."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.pool import Executor
from db.statements import load

SQL = load("channels")
PARTS = {
    name: re.sub(r"^--.*\n", "", SQL.pop(name), flags=re.MULTILINE) for name in ("columns", "wanted_shards")
}
for part, text in PARTS.items():
    SQL = {name: statement.replace(f"{{{part}}}", text) for name, statement in SQL.items()}


@dataclass(frozen=True, slots=True)
class Channel:
    """A row of notify.channels, and into how many shards it is to be cut. `version` grows with every change."""

    name: str
    kind: str
    enabled: bool
    config: Mapping[str, Any]
    max_attempts: int
    on_unknown: str
    version: int
    updated_at: datetime
    shards: int


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different; None leaves it as it is. `version`: only if it is this one."""

    name: str
    version: int | None = None
    config: Mapping[str, Any] | None = None
    enabled: bool | None = None
    max_attempts: int | None = None
    on_unknown: str | None = None
    shards: int | None = None


@dataclass(frozen=True, slots=True)
class NewChannel:
    name: str
    kind: str
    config: Mapping[str, Any]
    enabled: bool
    max_attempts: int
    on_unknown: str
    shards: int = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """What workers must know of a channel to read its streams (db.shards.Shards)."""

    name: str
    kind: str
    shards: int
    readable: int


async def kinds(executor: Executor) -> list[Kind]:
    """Of every channel, enabled or not."""
    return [Kind(**row) for row in await executor.fetch(SQL["kinds"])]


async def all_channels(executor: Executor) -> list[Channel]:
    return [channel_of(row) for row in await executor.fetch(SQL["all_channels"])]


async def channel(executor: Executor, name: str) -> Channel | None:
    row = await executor.fetchrow(SQL["channel"], name)
    return channel_of(row) if row else None


async def add(executor: Executor, new: NewChannel) -> Channel | None:
    """None where the name is taken."""
    row = await executor.fetchrow(
        SQL["add_channel"],
        new.name,
        new.kind,
        json.dumps(new.config),
        new.enabled,
        new.max_attempts,
        new.on_unknown,
        new.shards,
    )
    return channel_of(row) if row else None


async def change(executor: Executor, wanted: Change) -> Channel | None:
    """As it is now; None where there is none of that name and version."""
    row = await executor.fetchrow(
        SQL["change_channel"],
        wanted.name,
        wanted.version,
        None if wanted.config is None else json.dumps(wanted.config),
        wanted.enabled,
        wanted.max_attempts,
        wanted.on_unknown,
        wanted.shards,
    )
    return channel_of(row) if row else None


async def remove(executor: Executor, name: str, version: int | None) -> bool:
    """Whether there was one of that name and version. Raises asyncpg.RestrictViolationError where it is in use, and
    LockNotAvailableError while producers' long transactions leave no moment for it."""
    return await executor.fetchval(SQL["remove_channel"], name, version) is not None


def channel_of(row: Any) -> Channel:
    return Channel(**{**row, "config": json.loads(row["config"])})
