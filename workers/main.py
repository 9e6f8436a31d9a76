"""The worker process: for each channel and lane a runner of its own, beside the probes."""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from db.pool import Pool, open_pool
from outbox.errors import SettingsError
from outbox.log import get
from outbox.nodes import Nodes
from outbox.probes import Health, serve_probes
from outbox.service import Stop, run_loop
from outbox.settings import Settings
from outbox.streams import LANES
from workers.decide import Rules
from workers.email import Email
from workers.inapp import InApp
from workers.job import Channel
from workers.mirror import Mirror
from workers.push import PushChannel
from workers.reader import Reader, Source
from workers.recipients import Recipients, from_settings
from workers.retry import Backoff
from workers.runner import Brake, Lane, Runner
from workers.settler import Settler
from workers.shutdown import CLOSE_CHANNEL, CLOSE_POOL, SHIELD

log = get("worker")

# In-app is only a transaction: large batches, in which a thousand are quicker than ten alone.
INAPP_CAPACITY = 1_000


def inapp(settings: Settings) -> Channel:
    return InApp(settings.keys, INAPP_CAPACITY)


def push(settings: Settings) -> Channel:
    return PushChannel(settings.worker_concurrency, settings.worker_lease)


def email(settings: Settings) -> Channel:
    return Email(settings.worker_concurrency, settings.worker_lease)


CHANNELS: dict[str, Callable[[Settings], Channel]] = {"inapp": inapp, "email": email, "push": push}
# These look up by themselves whom they write to: a claim holds one address, and a user may have many devices.
FIND_RECIPIENTS = frozenset({"push"})


@dataclass(frozen=True, slots=True)
class Shared:
    """What the lanes have in common."""

    settings: Settings
    pool: Pool
    nodes: Nodes
    health: Health
    stop: Stop
    recipients: Recipients


async def main(settings: Settings, channels: Sequence[str], stop: Stop) -> None:
    """Work on these channels until asked to stop. Raises SettingsError for a channel without a module here."""
    names = check(channels)
    pool = await open_pool(settings.database, name="worker", size=2 * len(names) * len(LANES) + 2)
    recipients = await from_settings(settings, pool)
    shared = Shared(settings, pool, connect(settings.redis), Health(), stop, recipients)
    try:
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                brake = Brake()
                for lane in LANES:
                    tasks.create_task(run_lane(shared, name, lane.value, brake))
            mirror = Mirror(pool, shared.nodes, settings.keys)
            tasks.create_task(run_loop("mirror dead letters", mirror.step, asyncio.Event(), stop))
            tasks.create_task(serve_probes(shared.health, settings.host, settings.worker_port, stop))
            log.info("worker.started", channels=names, port=settings.worker_port)
    finally:
        await shared.nodes.aclose()
        await recipients.close()
        await close(pool, settings.shutdown_grace * CLOSE_POOL)


def check(channels: Sequence[str]) -> list[str]:
    known = ", ".join(CHANNELS)
    if not channels:
        raise SettingsError(f"name at least one channel to work on; available: {known}")
    for name in channels:
        if name not in CHANNELS:
            raise SettingsError(f"channel {name!r} has no worker here; available: {known}")
    return list(dict.fromkeys(channels))


async def run_lane(shared: Shared, name: str, lane: str, brake: Brake) -> None:
    settings = shared.settings
    channel = CHANNELS[name](settings)
    source = Source(settings.keys.stream(name, lane), consumer_name(), settings.worker_lease)
    own = connect(settings.redis)
    rules = Rules(
        Backoff(settings.retry_base, settings.retry_cap),
        channel.outward,
        needs_contact=channel.outward and channel.name not in FIND_RECIPIENTS,
    )
    grace = settings.shutdown_grace
    settler = Settler(shared.pool, shared.nodes, channel, source.stream, grace * SHIELD)
    runner = Runner(
        Lane(lane, channel, rules, shared.pool, Reader(own, source), brake, shared.recipients), settler, grace
    )
    shared.health.add(f"{name}.{lane}", runner.trouble)
    try:
        await runner.run(shared.stop)
    finally:
        await close_channel(channel, grace * CLOSE_CHANNEL)
        await own.aclose()


def consumer_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def connect(url: str) -> Nodes:
    """No retries inside the client: a repeated read would lose the first reply's entries without our knowing."""
    return Nodes(url, protocol=2, retry=Retry(NoBackoff(), 0), health_check_interval=0)


async def close_channel(channel: Channel, seconds: float) -> None:
    """A mail server that does not answer to our leaving is left without."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await channel.close()


async def close(pool: Pool, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await pool.close()
    except (TimeoutError, OSError, asyncpg.PostgresError):
        pool.terminate()
