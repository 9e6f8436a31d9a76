"""Concurrent creates, gathered into one commit: whatever came while the last one ran goes into the next.

Nobody waits for company. Each caller hears of its own notification, after the commit that holds it: a row that breaks a
rule is refused alone (notify.accept), and what troubles a whole batch is found by halves.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from db import intake
from db.intake import KEY, Odd
from db.pool import Pool, PooledConnection
from db.producer import Row
from outbox import rules
from outbox.api.intake import Accepted
from outbox.api.metrics import BATCH_ROWS
from outbox.api.problems import RETRY_AFTER_SECONDS, ProblemError
from outbox.envelope import Notification
from outbox.log import get
from outbox.producer import to_row, uuid7
from outbox.service import describe
from outbox.trace_context import leave

log = get("api")

WAITING = 2_000  # requests; by then they are seconds late, and more would only be later
ROWS = 256  # in one commit
FLUSHERS = 2  # commits under way: one is on the disk while the other is worked on
# With no more rows than this under way, as many may be: to wait for another's commit would be to wait for two.
FEW = 4
ACQUIRE_SECONDS = 5.0

# The connection ended while the statement was on it: whether it was committed is not known. Even the last words of a
# server that shuts down may come after the commit and before its acknowledgement.
DOUBTS = (
    OSError,
    TimeoutError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.PostgresConnectionError,
    asyncpg.StatementCompletionUnknownError,
)
# What is wrong with a row of a batch, and keeps Postgres, or the driver, from looking at the others.
UNREADABLE = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits for its commit."""

    id: UUID
    row: Row
    answer: "asyncio.Future[Accepted]"


class Gathering:
    """What waits, and the tasks that commit it. They live as long as something waits."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.waiting: deque[Waiting] = deque()
        self.at_work: set[asyncio.Task[None]] = set()
        self.connected = 0  # of those at work
        self.under_way = 0  # rows

    async def accept(self, notification: Notification) -> Accepted:
        """Committed when it returns. A caller that gives up before its commit has begun is left out of it.

        Raises InvalidNotificationError for a rule that only the database knows; ProblemError, 503, where too many wait,
        or where nobody knows what has become of it; asyncpg's errors and TimeoutError when Postgres is away.
        """
        if len(self.waiting) >= WAITING:
            raise overloaded()
        identity = uuid7()
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self.waiting.append(Waiting(identity, to_row(identity, notification), answer))
        self._look()
        return await answer

    async def close(self) -> None:
        """What waits is committed, and its callers have their answers."""
        while self.at_work:
            await asyncio.wait(self.at_work)

    def _look(self) -> None:
        if self.waiting and len(self.at_work) < (FEW if self.under_way < FEW else FLUSHERS):
            task = asyncio.get_running_loop().create_task(self._flush())
            self.at_work.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.at_work.discard(task)
        if not task.cancelled():
            self._look()  # what came after its last look, before it was gone

    def _next(self) -> list[Waiting]:
        """In the order of their keys, as db.intake.accept asks."""
        batch: list[Waiting] = []
        while self.waiting and len(batch) < ROWS:
            if not (first := self.waiting.popleft()).answer.done():
                batch.append(first)
        batch.sort(key=dedup_key)
        return batch

    async def _flush(self) -> None:
        """Commits until nothing waits, or the connection is lost; then the next one begins on another."""
        leave()
        try:
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
                await self._drain(conn)
        except Exception as error:  # of a step: those who wait must hear of it, whatever it is
            log.warning("api.no_connection", error=describe(error), waiting=len(self.waiting))
            if not self.connected:  # another one would take them
                refuse([*self.waiting], error)
                self.waiting.clear()

    async def _drain(self, conn: PooledConnection) -> None:
        """What waits stays in the queue where the connection has ended between two commits."""
        self.connected += 1
        try:
            while not ended(conn) and (batch := self._next()) and await self._take(conn, batch):
                pass
        finally:
            self.connected -= 1

    async def _take(self, conn: PooledConnection, batch: Sequence[Waiting]) -> bool:
        self.under_way += len(batch)
        try:
            return await self._commit(conn, batch)
        finally:
            self.under_way -= len(batch)

    async def _commit(self, conn: PooledConnection, batch: Sequence[Waiting]) -> bool:
        """Everyone of the batch has an answer when it ends. Whether the connection is good for more."""
        try:
            odd = await intake.accept(conn, [each.row for each in batch])
            BATCH_ROWS.observe(len(batch))
        except UNREADABLE as error:
            return await self._halve(conn, batch, error)
        except DOUBTS as error:
            log.warning("api.outcome_unknown", error=describe(error), notifications=len(batch))
            refuse(batch, doubt())
            return False
        except Exception as error:  # of a step, as above
            refuse(batch, error)
            return True
        settle(batch, odd)
        return True

    async def _halve(
        self, conn: PooledConnection, batch: Sequence[Waiting], error: asyncpg.PostgresError
    ) -> bool:
        if len(batch) == 1:
            refuse(batch, told(error))
            return True
        middle = len(batch) // 2
        good = await self._commit(conn, batch[:middle])
        return await self._commit(conn, batch[middle:]) and good


def ended(conn: PooledConnection) -> bool:
    """A connection that the server has closed goes back to the pool by itself."""
    try:
        return conn.is_closed()
    except asyncpg.InterfaceError:
        return True


def dedup_key(waiting: Waiting) -> str:
    return waiting.row[KEY] or ""


def settle(batch: Sequence[Waiting], odd: dict[int, Odd]) -> None:
    for place, each in enumerate(batch):
        if each.answer.done():
            continue
        match odd.get(place):
            case None:
                each.answer.set_result(Accepted(each.id, replayed=False))
            case UUID() as first:
                each.answer.set_result(Accepted(first, replayed=True))
            case error:
                each.answer.set_exception(told(error))


def refuse(batch: Sequence[Waiting], error: Exception) -> None:
    for each in batch:
        if not each.answer.done():
            each.answer.set_exception(error)


def told(error: asyncpg.PostgresError) -> Exception:
    """The rule that is broken, where that is what Postgres says."""
    return held() if isinstance(error, asyncpg.LockNotAvailableError) else rules.of_database(error) or error


def unavailable(kind: str, detail: str) -> ProblemError:
    return ProblemError(503, kind, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def overloaded() -> ProblemError:
    return unavailable("overloaded", f"{WAITING} requests wait for Postgres already. This one was not taken.")


def held() -> ProblemError:
    return unavailable("held", "A transaction that has not ended holds this dedup_key. Nothing was stored.")


def doubt() -> ProblemError:
    return unavailable(
        "outcome-unknown",
        "The connection to Postgres was lost during the commit: it is stored, or it is not. "
        "Send it again with the same dedup_key to be sure; without one, it may come twice.",
    )
