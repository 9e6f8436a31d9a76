"""Carries out erasures: a step at a time, whichever process has the lease, until each is finished.

Everything is gone through twice. What a relay, a worker or a producer's transaction had in hand during the first round
has ended, or lost its lease, when the second begins.
"""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import asyncpg

from db import erasure as sql
from db.erasure import Erasure, Place
from db.pool import Executor, Pool
from outbox import audit
from outbox.erasure.stages import STAGES, Piece, Stage, Work, after
from outbox.erasure.streams import Streams
from outbox.log import get
from outbox.settings import Settings
from outbox.tokens import Identity

log = get("erasure")


ROUNDS = 2
LEASE_SECONDS = 60.0
IDLE_SECONDS = 2.0
# A transaction of a producer or a worker holds what this step wants: it is made again, whole.
BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


class LeaseLostError(Exception):
    """Another process goes on with the erasure; what this step did is rolled back."""


def settling_seconds(settings: Settings) -> float:
    """Between the rounds: nobody holds anything for longer than a lease."""
    return 1.2 * max(settings.worker_lease, settings.relay_lease) + 1


async def request(
    executor: Executor, settings: Settings, caller: Identity, user_id: str, addresses: list[str]
) -> Erasure:
    """Ask for it; a loop of some process does it. Who asks again while it runs gets the same one. Needs a transaction,
    which the caller owns."""
    begun = await sql.request(executor, audit.pseudonym(settings, user_id), user_id, addresses)
    await audit.record(executor, caller, "user.erase", begun.subject, {"erasure": str(begun.id)})
    return begun


@dataclass(slots=True)
class Eraser:
    """`step` is a loop's. Any number of them may run, in any number of processes."""

    settings: Settings
    pool: Pool
    streams: Streams
    token: UUID = field(default_factory=uuid4)

    async def step(self, only: UUID | None = None) -> float:
        """One piece of an erasure, in one transaction with the note of how far it has come."""
        async with self.pool.acquire() as conn:
            erasure = await sql.take(conn, self.token, LEASE_SECONDS, only)
            if erasure is None:
                return IDLE_SECONDS
            try:
                async with conn.transaction():
                    await sql.limit_waits(conn)
                    await self.advance(conn, erasure)
            except BUSY as error:
                log.info("erasure.waits", erasure=str(erasure.id), reason=type(error).__name__)
                return IDLE_SECONDS
        return 0

    async def advance(self, conn: Executor, erasure: Erasure) -> None:
        assert erasure.user_id is not None
        stage = Stage(erasure.stage)
        piece = await STAGES[stage](Work(conn, self.streams, erasure, erasure.user_id))
        to = following(erasure, stage, piece, settling_seconds(self.settings))
        erased = +piece.erased
        if not await sql.advance(conn, erasure.id, self.token, to or Place(ROUNDS, stage), erased):
            raise LeaseLostError(f"erasure {erasure.id}")
        if to is None and await sql.finish(conn, erasure.id, self.token):
            log.info(
                "erasure.finished", erasure=str(erasure.id), erased=dict(erased + Counter(erasure.erased))
            )


def following(erasure: Erasure, stage: Stage, piece: Piece, settling: float) -> Place | None:
    """Where to go on. None: that was all."""
    if piece.place is not None:
        return Place(erasure.round, stage, piece.place)
    if following_stage := after(stage):
        return Place(erasure.round, following_stage)
    if erasure.round < ROUNDS:
        return Place(erasure.round + 1, next(iter(STAGES)), None, settling)
    return None
