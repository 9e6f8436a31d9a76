"""Erasing a person: the job as a row, and what its steps delete. Each function is a statement of db/sql/erasure.sql."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from asyncpg import Record

from db.pool import Executor
from db.statements import load

SQL = load("erasure")
SQL = {name: statement.replace("{erasure}", SQL["erasure"]) for name, statement in SQL.items()}

Counts = Mapping[str, int]  # rows, or entries, by table
END_OF_LOG = 2**64 - 1  # no transaction has this id


@dataclass(frozen=True, slots=True)
class Erasure:
    """`user_id` and `addresses` are None once it is finished; `subject` stands for the person then."""

    id: UUID
    subject: str
    user_id: str | None
    addresses: list[str] | None
    round: int
    stage: str
    place: str | None
    erased: dict[str, int]
    requested_at: datetime
    finished_at: datetime | None

    @classmethod
    def from_row(cls, row: Record) -> Self:
        return cls(**{**row, "erased": json.loads(row["erased"])})


@dataclass(frozen=True, slots=True)
class Place:
    """Where an erasure goes on, and for how many seconds that has to wait."""

    round: int
    stage: str
    place: str | None = None
    wait_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Letter:
    """An undecodable one, and the stream entry that it was."""

    id: UUID
    raw: bytes


@dataclass(frozen=True, slots=True)
class Reissue:
    """An entry of somebody else's, which named the person."""

    notification_id: UUID
    attempt: int


async def request(executor: Executor, subject: str, user_id: str, addresses: Sequence[str]) -> Erasure:
    """A new one, or the one that is under way."""
    row = await executor.fetchrow(SQL["request"], subject, user_id, list(addresses))
    assert row is not None
    return Erasure.from_row(row)


async def find(executor: Executor, erasure_id: UUID) -> Erasure | None:
    row = await executor.fetchrow(SQL["find"], erasure_id)
    return Erasure.from_row(row) if row else None


async def take(
    executor: Executor, token: UUID, lease_seconds: float, only: UUID | None = None
) -> Erasure | None:
    """The one to go on with, held under `token`; taking it again prolongs that."""
    row = await executor.fetchrow(SQL["take"], token, lease_seconds, only)
    return Erasure.from_row(row) if row else None


async def advance(executor: Executor, erasure_id: UUID, token: UUID, to: Place, erased: Counts) -> bool:
    """False: the lease is another's, and what this step did must be rolled back."""
    facts = (to.round, to.stage, to.place, json.dumps(dict(erased)), to.wait_seconds)
    return await executor.fetchval(SQL["advance"], erasure_id, token, *facts) is not None


async def finish(executor: Executor, erasure_id: UUID, token: UUID) -> bool:
    return await executor.fetchval(SQL["finish"], erasure_id, token) is not None


async def limit_waits(executor: Executor) -> None:
    """For the rest of the transaction, which then fails with LockNotAvailableError."""
    await executor.execute(SQL["limit_waits"])


async def erase_notifications(executor: Executor, user_id: str, limit: int) -> Counter[str]:
    """Up to `limit` of them, with all that hangs on them; nothing: there are none left. Needs a transaction."""
    ids = [row["id"] for row in await executor.fetch(SQL["pick"], user_id, limit)]
    if not ids:
        return Counter()
    await executor.execute(SQL["lock_deliveries"], ids)
    await executor.execute(SQL["lock_digests"], user_id)
    await executor.execute(SQL["lock_inbox"], user_id)
    await executor.execute(SQL["lock_notifications"], ids)
    return Counter(json.loads(await executor.fetchval(SQL["erase_notifications"], ids)))


async def erase_person(executor: Executor, erasure: Erasure) -> Counter[str]:
    found = await executor.fetchval(SQL["erase_person"], erasure.user_id, erasure.addresses, erasure.id)
    return Counter(json.loads(found))


async def forget_actor(executor: Executor, user_id: str, limit: int) -> int:
    """In how many notifications of others; 0: in none is left."""
    named: int = await executor.fetchval(SQL["forget_actor"], user_id, limit)
    return named


async def forget_in_audit_log(executor: Executor, user_id: str, subject: str) -> int:
    """Acts, and keys of programs that the person has made."""
    await executor.execute(SQL["forget_maker_of_keys"], user_id, subject)
    changed: int = await executor.fetchval(SQL["forget_in_audit_log"], user_id, subject)
    return changed


async def undecodable(executor: Executor, after: UUID | None, limit: int) -> list[Letter]:
    return [Letter(*row) for row in await executor.fetch(SQL["undecodable"], after, limit)]


async def erase_letters(executor: Executor, ids: Sequence[UUID]) -> None:
    await executor.execute(SQL["erase_letters"], list(ids))


async def log_edge(executor: Executor, after: int, rows: int) -> int:
    """Where a stretch of about so many rows ends; END_OF_LOG where the log ends before that."""
    edge: int | None = await executor.fetchval(SQL["log_edge"], after, rows)
    return END_OF_LOG if edge is None else max(edge, after + 1)  # one transaction may be more than a stretch


async def erase_log(executor: Executor, user_id: str, first: int, edge: int) -> int:
    """From transaction id `first` up to `edge`, which is not in it."""
    return int((await executor.execute(SQL["erase_log"], first, edge, user_id)).rpartition(" ")[2])


async def forget_actor_in_log(executor: Executor, user_id: str, first: int, edge: int) -> int:
    changed: int = await executor.fetchval(SQL["forget_actor_in_log"], user_id, first, edge)
    return changed


async def reissue(executor: Executor, channel: str, entries: Sequence[Reissue]) -> None:
    ids = [entry.notification_id for entry in entries]
    await executor.execute(SQL["reissue"], channel, ids, [entry.attempt for entry in entries])


async def gone(executor: Executor, letters: Sequence[tuple[UUID | None, UUID | None]]) -> list[int]:
    """Of these letters (their own id, their notification's) the places of those that are no more."""
    ids, notifications = [one for one, _ in letters], [other for _, other in letters]
    return [row["place"] - 1 for row in await executor.fetch(SQL["gone"], ids, notifications)]
