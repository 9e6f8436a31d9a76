"""Whose turn it is at an ordered endpoint: one delivery at a time, in the order of the stream, retries included, and
whatever the number of workers.

A delivery may go when (1) no earlier entry of its endpoint is left in its stream, and then (2) no earlier delivery of
the endpoint is open in Postgres, and nobody else holds the turn. In this order: an entry leaves the stream only after
what became of it is committed, with its place in the queue, so one of the two looks always sees it. What must wait
is postponed through `scheduled`, which counts as no attempt; within a process those at hand simply queue up.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from db import webhooks
from db.pool import OUTAGES, Executor, Pool
from db.webhooks import Place
from outbox.log import get
from outbox.nodes import Nodes
from outbox.service import describe
from workers.job import Job
from workers.outcome import Deferred

log = get("worker")

PAGE = 500
REMEMBERED = 10_000
# How soon to look again, for each that stands before: whoever delivers calls the next one, so this is only the net,
# and a long queue must not be a storm.
LOOK_SECONDS = 1.0
LOOK_CAP_SECONDS = 300.0
BEHIND = "an earlier message to this endpoint is not through yet"


class Turns:
    """Of one channel in one process, for all its lanes."""

    def __init__(self, channel: str, pool: Pool, nodes: Nodes) -> None:
        self.channel, self._pool, self._nodes = channel, pool, nodes
        self._queues: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # Delivered here, and perhaps not yet out of the stream.
        self._done: OrderedDict[bytes, None] = OrderedDict()

    @asynccontextmanager
    async def queue(self, endpoint: str) -> AsyncIterator[None]:
        """First come, first served, within this process."""
        lock = self._queues.setdefault(endpoint, asyncio.Lock())
        async with lock:
            yield

    async def place(self, job: Job, endpoint: str) -> Place:
        async with self._pool.acquire() as connection:
            return await webhooks.place(connection, wanted(self.channel, job, endpoint))

    async def keep(self, executor: Executor, jobs: Iterable[tuple[Job, str]]) -> None:
        """The places of what is put off before it came to ask for one: by quiet hours, a cap, or a rule."""
        places = [wanted(self.channel, job, endpoint) for job, endpoint in jobs]
        if places:
            await webhooks.keep_places(executor, self.channel, places)

    async def take(self, place: Place, stream: str, seconds: float) -> Deferred | None:
        """None: go. The turn lasts for so many seconds, or until `leave`."""
        if (entries := await self._entries_before(place, stream)) > 0:
            return behind(entries)
        async with self._pool.acquire() as connection:
            turn = await webhooks.take_turn(connection, place, seconds)
        return None if turn.taken else behind(turn.ahead, turn.due_in)

    async def leave(self, place: Place, job: Job, *, delivered: bool) -> None:
        """Never raises: what was sent was sent. A turn that is not given back runs out."""
        if delivered:
            self._done[job.entry.id] = None
            if len(self._done) > REMEMBERED:
                self._done.popitem(last=False)
        try:
            async with self._pool.acquire() as connection:
                await webhooks.leave_turn(connection, place, delivered=delivered)
        except OUTAGES as error:
            log.warning("webhook.turn_not_left", channel=self.channel, error=describe(error))

    async def _entries_before(self, place: Place, stream: str) -> int:
        """How many there are for sure. Entries below are those in flight, a handful: the stream holds nothing that is
        settled."""
        start, end = "-", f"({place.ms}-{place.row}"
        while True:
            page: Any
            async with self._nodes.at(stream) as redis:
                page = await redis.xrange(stream, start, end, PAGE)
            before = [
                entry_id
                for entry_id, fields in page
                if entry_id not in self._done and place.endpoint in ("", user_of(fields))
            ]
            if before or len(page) < PAGE:
                return len(before)
            start = f"({page[-1][0].decode()}"


def wanted(channel: str, job: Job, endpoint: str) -> Place:
    ms, row = map(int, job.entry.id.split(b"-"))
    return Place(channel, endpoint, job.entry.notification_id, ms, row)


def behind(ahead: int, due_in: float | None = None) -> Deferred:
    """`due_in`: seconds until the first in the queue is tried again."""
    seconds = max(due_in or 0.0, 0.0) + max(ahead, 1) * LOOK_SECONDS
    return Deferred("waits_its_turn", BEHIND, min(seconds, LOOK_CAP_SECONDS), exact=True)


def user_of(fields: dict[bytes, bytes]) -> str | None:
    """Whose entry it is; None for what is no envelope, which will be a dead letter."""
    try:
        user = json.loads(fields[b"envelope"])["user_id"]
    except (KeyError, TypeError, ValueError):
        return None
    return user if isinstance(user, str) else None
