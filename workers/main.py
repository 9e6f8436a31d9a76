"""The worker process: for each channel and lane a runner of its own, as rows come and go, beside the probes."""

import asyncio
import contextlib
import os
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import asyncpg
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from db.pool import Pool, open_pool
from outbox.envelope import Priority
from outbox.errors import SettingsError
from outbox.log import get
from outbox.nodes import Nodes
from outbox.probes import Health, serve_probes
from outbox.service import Stop, run_loop
from outbox.settings import Settings
from outbox.streams import LANES
from outbox.vitals import Vitals
from workers import metrics
from workers.claiming import Lane
from workers.common import Common
from workers.decide import Rules
from workers.email import Email, Outside
from workers.follow import Fleet, Shard, shards_that_hold
from workers.inapp import InApp
from workers.job import Channel
from workers.mirror import Mirror
from workers.premises import Bench, Premises
from workers.push import PushChannel
from workers.rates import Rates
from workers.reader import Reader, Source
from workers.recipients import Recipients, from_settings
from workers.retry import Backoff
from workers.runner import Runner
from workers.settler import Settler
from workers.shutdown import CLOSE_CHANNEL, CLOSE_POOL, SHIELD
from workers.sms import Sms
from workers.webhook import Ground, Site, Webhook

log = get("worker")

# In-app is only a transaction: large batches, in which a thousand are quicker than ten alone.
INAPP_CAPACITY = 1_000
# A lane takes a connection to claim and one to settle, for a moment each: this is enough for many channels.
POOL_CONNECTIONS = 32
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def inapp(settings: Settings, _: Common) -> Channel:
    return InApp(settings.keys, INAPP_CAPACITY)


def email(settings: Settings, common: Common) -> Channel:
    return Email(settings.worker_concurrency, settings.worker_lease, Outside.of(settings), common)


def push(settings: Settings, common: Common) -> Channel:
    return PushChannel(settings.worker_concurrency, settings.worker_lease, common)


# The kinds of which there is one channel, named as the kind is. Of webhooks there may be any number.
CHANNELS: dict[str, Callable[[Settings, Common], Channel]] = {
    "inapp": inapp,
    "email": email,
    "sms": Sms,
    "push": push,
}
WEBHOOK = "webhook"
# A claim holds one address; these look up by themselves where to send to.
FIND_RECIPIENTS = (PushChannel, Webhook)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the lanes have in common."""

    settings: Settings
    pool: Pool
    nodes: Nodes
    rates: Rates
    health: Health
    recipients: Recipients


async def main(settings: Settings, channels: Sequence[str], stop: Stop, left_out: Sequence[str] = ()) -> None:
    """Work on these channels, or on all but those left out if none is named, until asked to stop. Raises SettingsError
    for a name that has no worker here."""
    names, others = check(channels), check(left_out)
    pool = await open_pool(settings.database, name="worker", size=POOL_CONNECTIONS)
    recipients = await from_settings(settings, pool)
    rates = Rates(settings.redis, settings.redis_prefix, settings.rates_without_redis)
    shared = Shared(settings, pool, connect(settings.redis), rates, Health(), recipients)
    holding = partial(shards_that_hold, shared.nodes, settings.keys)
    fleet = Fleet(pool, partial(run_shard, shared, {}), holding, workable, names, others)
    shared.health.add("channels", fleet.check)
    mirror = Mirror(pool, shared.nodes, settings.keys)
    vitals = Vitals("worker", pool, shared.nodes)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fleet.run(stop))
            tasks.create_task(run_loop("mirror dead letters", mirror.step, asyncio.Event(), stop))
            tasks.create_task(run_loop("worker.vitals", vitals.step, asyncio.Event(), stop))
            tasks.create_task(serve_probes(shared.health, settings.host, settings.worker_port, stop))
            said = names or (f"all but {', '.join(others)}" if others else "all")
            log.info("worker.started", channels=said, port=settings.worker_port)
    finally:
        await shared.nodes.aclose()
        await recipients.close()
        await shared.rates.close()
        await close(pool, settings.shutdown_grace * CLOSE_POOL)


def check(channels: Sequence[str]) -> list[str]:
    known = ", ".join((*CHANNELS, WEBHOOK))
    for name in channels:
        if not NAME.fullmatch(name):
            raise SettingsError(f"channel {name!r} has no worker here; available: {known}")
    return list(dict.fromkeys(channels))


def workable(name: str, kind: str) -> bool:
    return kind == WEBHOOK or (kind in CHANNELS and name == kind)


def maker(shared: Shared, common: Common, kind: str) -> Callable[[], Channel]:
    """Makes a channel for one lane; what its lanes share is made here."""
    settings = shared.settings
    if kind != WEBHOOK:
        return partial(CHANNELS[kind], settings, common)
    ground = Ground(
        shared.pool,
        shared.nodes,
        settings.keys,
        settings.egress,
        settings.worker_concurrency,
        settings.worker_lease,
        rates=shared.rates,
    )
    return partial(Webhook, Site(common.channel, ground))


async def run_shard(
    shared: Shared, channels: dict[str, Premises], shard: Shard, kind: str, stop: Stop
) -> None:
    """Its lanes, until asked to stop. `channels`: those that shards are at work on, or were."""
    name = shard.channel
    if (premises := channels.get(name)) is None or premises.kind != kind:
        common = Common(name, database=shared.pool, rates=shared.rates)
        closing = partial(close_channel, seconds=shared.settings.shutdown_grace * CLOSE_CHANNEL)
        premises = channels[name] = Premises(kind, common, maker(shared, common, kind), closing)
    metrics.begin(name)
    async with asyncio.TaskGroup() as tasks:
        for lane in LANES:
            tasks.create_task(run_lane(shared, premises, lane, shard.number, stop))


async def run_lane(shared: Shared, premises: Premises, lane: Priority, shard: int, stop: Stop) -> None:
    """Of one shard."""
    settings, name = shared.settings, premises.common.channel
    source = Source(settings.keys.stream(name, lane, shard), consumer_name(), settings.worker_lease)
    own = connect(settings.redis)
    about = f"{name}.{lane}{f'.{shard}' if shard else ''}"
    async with premises.bench(lane.value) as bench:
        runner = make_runner(shared, premises, bench, lane.value, Reader(own, source))
        shared.health.add(about, runner.trouble)
        try:
            await runner.run(stop)
        finally:
            shared.health.remove(about)
            await own.aclose()


def make_runner(shared: Shared, premises: Premises, bench: Bench, lane: str, reader: Reader) -> Runner:
    settings, channel = shared.settings, bench.channel
    rules = Rules(
        Backoff(settings.retry_base, settings.retry_cap),
        channel.outward,
        needs_contact=channel.outward and not isinstance(channel, FIND_RECIPIENTS),
    )
    grace = settings.shutdown_grace
    settler = Settler(shared.pool, shared.nodes, channel, reader.source.stream, grace * SHIELD)
    brake = premises.common.brake
    work = Lane(lane, channel, rules, shared.pool, reader, brake, shared.recipients, bench.room)
    return Runner(work, settler, grace)


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
