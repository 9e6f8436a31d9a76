"""The gateway process: sockets to browsers on one side, Postgres and one pub/sub connection on the other."""

import asyncio
import gc

from redis.asyncio import BlockingConnectionPool

from db.pool import open_pool
from gateway.app import create_app
from gateway.protocol import MAX_FRAME_BYTES
from gateway.switchboard import POOL_SIZE, Switchboard
from gateway.transport import BoundedProtocol, PatientProtocol
from outbox.log import get
from outbox.nodes import Nodes
from outbox.probes import Health, parting, serve
from outbox.service import Stop, run_loop
from outbox.settings import Settings
from outbox.vitals import Vitals

log = get("gateway")

# To look through all sockets for garbage takes seconds where there are many; little becomes garbage in a cycle.
GARBAGE_THRESHOLDS = (20_000, 20, 100)
PUBLISHERS = 4  # connections for PUBLISH, however many sockets


async def main(settings: Settings, stop: Stop) -> None:
    """Serve until asked to stop, then close the sockets with a hint when to come back."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    pool = await open_pool(settings.database, name="gateway", size=POOL_SIZE)
    nodes = Nodes(
        settings.redis,
        BlockingConnectionPool,
        client_name="outbox-gateway",
        protocol=2,
        max_connections=PUBLISHERS,
        timeout=5,
    )
    vitals = Vitals("gateway", pool, nodes)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_loop("gateway.vitals", vitals.step, asyncio.Event(), stop))
            await run(Switchboard(settings, pool, nodes), stop)
    finally:
        await nodes.aclose()
        pool.terminate()


async def run(board: Switchboard, stop: Stop) -> None:
    """Two phases: the sockets first, while the hub still serves them; then the rest."""
    emptied = Stop()

    async def empty_first() -> None:
        await stop.asked.wait()
        await board.drain()
        emptied.ask()

    emptied.wakes(board.hub.wake)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_loop("hub", lambda: board.hub.step(emptied), asyncio.Event(), emptied))
        tasks.create_task(run_loop("reconcile", board.reconcile, board.look, emptied))
        tasks.create_task(listen(board, stop, emptied))
        tasks.create_task(empty_first())


async def listen(board: Switchboard, stop: Stop, emptied: Stop) -> None:
    health = Health()
    health.add("redis", board.no_redis)
    health.add("stopping", stop.check)
    settings = board.settings
    log.info("gateway.listening", host=settings.host, port=settings.gateway_port)
    await serve(
        parting(create_app(board, health), stop),
        settings.host,
        settings.gateway_port,
        emptied,
        http=PatientProtocol,
        ws=BoundedProtocol,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        timeout_graceful_shutdown=5,
    )
