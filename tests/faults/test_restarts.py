"""Postgres, Redis and the mail server go down under load and come back: a clean recovery, nothing lost."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator

import asyncpg
import pytest

from bench.chaos import disasters, evidence, faults
from bench.chaos.ground import new_folder
from bench.chaos.kin import Kin
from bench.chaos.stage import Stage
from db.pool import OUTAGES

ROWS = 300
INSERT = (
    "INSERT INTO notify.outbox (event_type, user_id, channels, dedup_key)"
    " VALUES ('load.test', $1, '{inapp,email}', $2)"
)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Servers and processes of this test's own: they are to be shot at."""
    folder = new_folder()
    stage = Stage(folder, await Kin.open())
    try:
        await stage.open()
        await stage.start_all()
        yield stage
    finally:
        await stage.close()
        shutil.rmtree(folder)


async def produce(stage: Stage, progress: list[int]) -> None:
    """A producer as one should be: where it cannot know whether its commit went through, it says it again
    with the same dedup_key."""
    connection = None
    for number in range(ROWS):
        while True:
            try:
                connection = connection or await asyncpg.connect(stage.producer_url, timeout=5)
                await connection.execute(INSERT, f"user{number % 10}", f"row:{number}")
                break
            except OUTAGES:
                if connection:
                    connection.terminate()
                connection = None
                await asyncio.sleep(0.05)
        progress.append(number)
        await asyncio.sleep(0.01)
    if connection:
        await connection.close()


async def test_restarts_under_load_lose_nothing(stage: Stage) -> None:
    progress: list[int] = []
    producing = asyncio.create_task(produce(stage, progress))
    dice = random.Random(1)
    plan = [
        (40, disasters.postgres_restart),
        (60, disasters.redis_restart),
        (90, disasters.backend_kill),
        (140, faults.mail_kill),
        (190, disasters.postgres_kill),
        (210, disasters.redis_kill),
        (240, faults.client_kill),
    ]
    for after, fault in plan:
        while len(progress) < after and not producing.done():  # noqa: ASYNC110 - a count that it raises
            await asyncio.sleep(0.01)
        await fault(stage, dice)
    async with asyncio.timeout(90):
        await producing
        await everything_arrived(stage)
    mails = evidence.mails(stage.folder / "mail")
    assert len({mail.notification for mail in mails}) == ROWS
    async with stage.postgres.primary.connection() as connection:
        placed = await connection.fetch("SELECT notification_id FROM notify.inbox")
    assert len(placed) == len({record["notification_id"] for record in placed}) == ROWS
    told = (await evidence.kept(stage.postgres.primary)).told
    again = len(mails) - ROWS
    assert again <= told.total(), "a mail came twice only where the timeline says why it may"


async def everything_arrived(stage: Stage) -> None:
    sql = "SELECT count(*) FROM notify.deliveries WHERE status = 'delivered'"
    async with stage.postgres.primary.connection() as connection:
        while await connection.fetchval(sql) < 2 * ROWS:  # noqa: ASYNC110 - rows that workers write
            await asyncio.sleep(0.1)
