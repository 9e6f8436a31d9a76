"""Postgres, Redis and the mail server go down under load and come back: a clean recovery, nothing lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from bench.fire.stage import Stage
from db.pool import OUTAGES

ROWS = 300
INSERT = (
    "INSERT INTO notify.outbox (event_type, user_id, channels, dedup_key)"
    " VALUES ('load.test', $1, '{inapp,email}', $2)"
)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Servers and processes of this test's own: they are to be shot at."""
    stage = Stage(tmp_path)
    await asyncio.to_thread(stage.open)
    try:
        connection = await asyncpg.connect(stage.servers.migrate_url)
        await connection.execute(
            "INSERT INTO notify.recipients (user_id, email)"
            " SELECT 'u' || i, 'u' || i || '@example.com' FROM generate_series(0, 9) i"
        )
        await connection.close()
        stage.start_all()
        yield stage
    finally:
        await asyncio.to_thread(stage.close)


async def produce(stage: Stage, progress: list[int]) -> None:
    """A producer as one should be: where it cannot know whether its commit went through, it says it again
    with the same dedup_key."""
    connection = None
    for number in range(ROWS):
        while True:
            try:
                connection = connection or await asyncpg.connect(stage.servers.producer_url, timeout=5)
                await connection.execute(INSERT, f"u{number % 10}", f"row:{number}")
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


async def crash_backend(stage: Stage) -> None:
    """kill -9 of one Postgres backend: the server drops everyone and recovers from its log."""
    connection = await asyncpg.connect(stage.servers.admin_url)
    pid = connection.get_server_pid()
    os.kill(pid, signal.SIGKILL)
    connection.terminate()


async def drop_clients(stage: Stage) -> None:
    redis = Redis.from_url(stage.servers.redis_url)
    await redis.client_kill_filter(_type="normal", skipme=True)
    await redis.aclose()


async def mail_down(stage: Stage) -> None:
    stage.end("mail")
    await asyncio.sleep(3)  # how long it is down; nothing is waited for
    stage.start_mail()


async def test_restarts_under_load_lose_nothing(stage: Stage) -> None:
    progress: list[int] = []
    producing = asyncio.create_task(produce(stage, progress))
    faults = [
        (40, asyncio.to_thread(stage.restart_servers)),
        (90, crash_backend(stage)),
        (140, mail_down(stage)),
        (190, asyncio.to_thread(stage.restart_servers)),
        (240, drop_clients(stage)),
    ]
    for after, fault in faults:
        while len(progress) < after and not producing.done():  # noqa: ASYNC110 - a count that it raises
            await asyncio.sleep(0.01)
        await fault
    async with asyncio.timeout(90):
        await producing
        await everything_arrived(stage)
    mails = await mailed(stage)
    assert len(set(mails)) == ROWS
    connection = await asyncpg.connect(stage.servers.database_url)
    placed = await connection.fetch("SELECT notification_id FROM notify.inbox")
    assert len(placed) == len({record["notification_id"] for record in placed}) == ROWS
    unknown = await connection.fetchval(
        "SELECT count(*) FROM notify.delivery_events WHERE event = 'taken_over'"
    )
    again = await connection.fetchval("SELECT count(*) FROM notify.delivery_events WHERE event = 'retrying'")
    await connection.close()
    assert len(mails) - ROWS <= unknown + again, "a mail came twice only where the timeline says why it may"


async def everything_arrived(stage: Stage) -> None:
    while True:
        try:
            connection = await asyncpg.connect(stage.servers.database_url, timeout=5)
            sql = "SELECT count(*) FROM notify.deliveries WHERE status = 'delivered'"
            delivered = await connection.fetchval(sql)
            await connection.close()
            if delivered == 2 * ROWS:
                return
        except OUTAGES:
            pass  # it is coming up again
        await asyncio.sleep(0.1)


async def mailed(stage: Stage) -> list[str]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.mail_port}") as client:
        page = (await client.get("/api/messages", params={"limit": 1000})).json()["messages"]
        return [mail["message_id"] for mail in page]
