"""A real receiver that serves a few at a time: a lane comes to give it about as many, over the whole road.

It is timed, so it is no part of `make test`: run pytest tests/workers/real_crowded.py. test_concurrency.py has the same
with a time of its own.
"""

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.responses import Response

from outbox.local.doubles.serving import running
from outbox.local.doubles.webhook import Receiver
from tests.workers.conftest import Road, eventually
from tests.workers.hooks import ALLOW, SECRET, lead

SERVED, SECONDS = 6, 0.02
MESSAGES = 600
MANY = (
    "INSERT INTO notify.outbox (notification_id, event_type, user_id, channels, payload)"
    " SELECT gen_random_uuid(), 'order.paid', 'u' || i, '{webhook}', $2 FROM generate_series(1, $1::int) i"
)


class Crowded(Receiver):
    """`waiting` has how many were there, queueing or served, when each came."""

    def __init__(self) -> None:
        self.free, self.there = asyncio.Semaphore(SERVED), 0
        self.waiting: list[int] = []
        super().__init__(SECRET)

    async def take(self, request: Request) -> Response:
        self.there += 1
        self.waiting.append(self.there)
        try:
            async with self.free:
                await asyncio.sleep(SECONDS)  # its work
                return await super().take(request)
        finally:
            self.there -= 1


async def test_a_receiver_is_not_given_many_more_than_it_serves(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    far = Crowded()
    async with running(far.double):
        await lead(road, far.double.url)
        await road.producer.execute(MANY, MESSAGES, json.dumps({"title": "Paid"}))
        rows = await road.admin.fetch("SELECT id FROM notify.notifications")
        for row in rows:
            await road.entry(row["id"], "webhook")
        async with road.worker("webhook", worker_lease=60, **ALLOW):

            async def all_there() -> bool:
                return len(far.requests) == MESSAGES

            await eventually(all_there, "all have arrived")
            await road.until_empty("webhook")
    late = sorted(far.waiting[MESSAGES // 2 :])
    assert set(far.requests.values()) == {1}
    assert late[len(late) // 2] >= SERVED - 2, "it has enough to do"
    assert late[len(late) * 9 // 10] <= 3 * SERVED, "of the 64 that there may be"
