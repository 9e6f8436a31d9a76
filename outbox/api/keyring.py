"""API keys that callers show: looked up once in a few seconds each, and remembered in between.

What was looked up is good for KNOWN_SECONDS, in every process and without a message that could be lost: so long, at
most, a key that was revoked or changed goes on as before. The process that did it forgets it at once.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from db import keys
from db.keys import Presented
from db.pool import Pool
from outbox.api_keys import digest, id_of, proves
from outbox.errors import UnauthenticatedError
from outbox.limits import Limits
from outbox.recall import Recall
from outbox.tokens import Identity, Via

KNOWN_SECONDS = 5.0
ACQUIRE_SECONDS = 5.0
TOUCH_SECONDS = 60.0
NO_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    """Who shows the key, or why it does not hold."""

    id: str
    identity: Identity | None
    refusal: str = ""


class Keyring:
    """Of one process. `clock` is monotonic, in seconds."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool, self._clock = pool, clock
        # Apart, so that whoever tries many keys makes nobody's be looked up anew.
        self._known: Recall[bytes, Answer] = Recall()
        self._refused: Recall[bytes, Answer] = Recall()
        self._asked: dict[bytes, asyncio.Task[Answer]] = {}
        self._digests: dict[str, bytes] = {}
        self._used: set[str] = set()

    async def identify(self, text: str) -> Identity:
        """Who shows this key. Raises UnauthenticatedError; asyncpg's errors when Postgres is away."""
        hashed = digest(text)
        now = self._clock()
        answer = (
            self._known.get(hashed, now) or self._refused.get(hashed, now) or await self._ask(text, hashed)
        )
        if answer.identity is None:
            raise UnauthenticatedError(answer.refusal)
        if answer.identity.expires_at <= datetime.now(UTC):
            raise UnauthenticatedError("the key has expired")
        self._used.add(answer.id)
        return answer.identity

    async def _ask(self, text: str, hashed: bytes) -> Answer:
        """Of many who show the same key at once, one asks."""
        if (id_ := id_of(text)) is None:
            raise UnauthenticatedError("that is no key: its checksum is wrong")
        if (task := self._asked.get(hashed)) is None:
            task = self._asked[hashed] = asyncio.create_task(self._look_up(id_, text, hashed))
            task.add_done_callback(lambda _: self._asked.pop(hashed, None))
        return await asyncio.shield(task)

    async def _look_up(self, id_: str, text: str, hashed: bytes) -> Answer:
        asked_at = self._clock()
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            found = await keys.presented(conn, id_)
        answer = judged(id_, text, found)
        kept = self._known if answer.identity else self._refused
        kept.put(hashed, answer, asked_at + KNOWN_SECONDS)
        if answer.identity:
            self._digests[id_] = hashed
        return answer

    def forget(self, id_: str) -> None:
        """It was changed or revoked here."""
        if hashed := self._digests.pop(id_, None):
            self._known.forget(hashed)

    async def touch(self) -> float:
        """Write down which keys were used since the last time; seconds until the next. Off the path of requests."""
        if used := sorted(self._used):
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
                await keys.touch(conn, used)
            self._used.difference_update(used)
        return TOUCH_SECONDS


def judged(id_: str, text: str, found: Presented | None) -> Answer:
    """A wrong secret and an unknown id are told alike."""
    if found is None or not proves(text, found.hash):
        return Answer(id_, None, "there is no such key")
    if found.revoked_at is not None:
        return Answer(id_, None, "the key was revoked")
    limits = Limits(
        tuple(found.event_types) if found.event_types is not None else None,
        frozenset(found.channels) if found.channels is not None else None,
    )
    return Answer(
        id_,
        Identity(
            f"key:{id_}",
            frozenset(found.scopes),
            found.expires_at or NO_END,
            Via.KEY,
            limits,
            found.rate or "",
        ),
    )
