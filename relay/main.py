"""The relay's process: its loops, its listener, its probes."""

import asyncio
import gc
import os
import secrets
import socket
from contextlib import suppress
from functools import partial
from time import monotonic

from redis.asyncio import BlockingConnectionPool

from db.pool import OUTAGES, open_pool
from outbox.nodes import Nodes
from outbox.probes import Health, serve_probes
from outbox.service import Step, Stop, run_loop
from outbox.settings import Settings
from outbox.vitals import Vitals
from relay import metrics
from relay.expiry import Expiry
from relay.lead import Lead
from relay.listener import Listener, cancelled
from relay.relay import Relay
from relay.retention import Retention
from relay.ship import Shipper
from relay.streams import Streams
from relay.survey import Survey
from relay.upkeep import Upkeep
from relay.verify import age
from relay.wake import Sleep

PENDING_SECONDS = 2.0
# Rows are tuples, many at a time and none in a cycle: looking through them for garbage as often as Python does by
# default takes a fifth of the relay's time.
GARBAGE_THRESHOLDS = (50_000, 20, 100)
# A tick is appended to all its streams at once, and there may be hundreds: the rest wait their turn.
REDIS_CONNECTIONS = 16


def build(settings: Settings, nodes: Nodes) -> Relay:
    """A relay that is not running yet."""
    holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    relay = Relay(
        settings=settings,
        shipper=Shipper(Streams(nodes), settings.keys, settings.stream_max_length, {}),
        lead=Lead(holder, settings.relay_lease),
        sleep=Sleep(settings.relay_linger, settings.relay_poll),
    )
    # Asked when somebody looks: what a loop that has come to a halt last told would stay good for ever.
    metrics.LEADER.set_function(relay.lead.leads)
    metrics.LAG_SECONDS.set_function(relay.lag)
    return relay


async def main(settings: Settings, stop: Stop) -> None:
    """Relay until asked to stop. Starts with Postgres or Redis down: it waits for them."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    nodes = Nodes(
        settings.redis,
        BlockingConnectionPool,
        max_connections=REDIS_CONNECTIONS,
        timeout=None,
        socket_timeout=5,
        socket_connect_timeout=2,
    )
    relay = build(settings, nodes)
    wake = asyncio.Event()
    listener = Listener(settings.listen_database, wake)
    upkeep = Upkeep(relay, settings.own_database, settings.partition_rows, settings.retention)
    pool = await open_pool(settings.own_database, name="relay-survey", size=2)
    survey, vitals, expiry = Survey(pool, nodes), Vitals("relay", pool, nodes), Expiry(settings)
    health = Health()
    health.add("listen", listener.check)
    health.add("relay", relay.check)

    async def step() -> float:
        relay.cause = cause_of(relay, listener)
        return await relay.step()

    async def verify() -> float:
        if await relay.verify():
            wake.set()
        return settings.relay_verify

    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listener.run())
        probes = tasks.create_task(serve_probes(health, settings.host, settings.relay_port, stop))
        steps: dict[str, Step] = {
            "relay.upkeep": upkeep.step,
            "relay.verify": verify,
            "relay.pending": partial(count_pending, relay),
            "relay.vitals": vitals.step,
            "relay.survey_postgres": survey.postgres,
            "relay.survey_redis": survey.redis,
            "relay.expiry": expiry.step,
        }
        retention = None
        if settings.notification_retention is not None:
            retention = Retention(relay.lead, nodes, settings, settings.notification_retention)
            steps["relay.retention"] = retention.step
        others = [
            tasks.create_task(run_loop(name, each, asyncio.Event(), stop)) for name, each in steps.items()
        ]
        await run_loop("relay", step, wake, stop)
        await cancelled(listening)
        await asyncio.gather(probes, *others)
        with suppress(*OUTAGES):
            await relay.stop()
            await upkeep.stop()
            if retention:
                await retention.stop()
    pool.terminate()
    await nodes.aclose()


def cause_of(relay: Relay, listener: Listener) -> str:
    """What led to this look: a wake-up, the relay's own watch while awake, something due, or the slow poll."""
    if listener.take_notified():
        return "notify"
    if relay.mode is not relay.mode.ASLEEP:
        return "watch"
    if relay.due_in is not None and relay.due_in <= monotonic() - relay.due_checked_at:
        return "due"
    return "poll"


async def count_pending(relay: Relay) -> float:
    for stream in list(relay.ledger.tops) if relay.ledger else []:
        for group, pending in (await relay.shipper.streams.pending(stream)).items():
            metrics.PENDING.labels(group, stream).set(pending)
            oldest = await relay.shipper.streams.oldest_pending(stream, group) if pending else None
            metrics.PENDING_SECONDS.labels(group, stream).set(age(oldest.ms) if oldest else 0)
    return PENDING_SECONDS
