"""The API as a process: a pool, Redis, a look at Postgres every second, erasures, the server, until asked to stop."""

import asyncio
import gc
import time

from db.notifications import ping
from db.pool import Pool, open_pool
from outbox.api.app import create_app
from outbox.api.audit_log import AuditLog
from outbox.api.guard import Guard
from outbox.api.joined import JoinedProtocol
from outbox.erasure.eraser import Eraser
from outbox.erasure.streams import Streams
from outbox.log import get
from outbox.nodes import Nodes
from outbox.probes import Health, parting, serve
from outbox.service import Stop, run_loop
from outbox.settings import Settings
from outbox.vitals import Vitals

log = get("api")

# A request makes some hundred small objects and no cycle; to look through those that live long again and again, as
# Python does by default, is work for nothing.
GARBAGE_THRESHOLDS = (20_000, 20, 100)
PING_SECONDS = 1.0
SILENCE_SECONDS = 5.0


class Pulse:
    """Whether Postgres answers, kept up in the background, so that a probe costs it nothing."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.answered = time.monotonic()

    async def step(self) -> float:
        async with asyncio.timeout(SILENCE_SECONDS), self.pool.acquire() as conn:
            await ping(conn)
        self.answered = time.monotonic()
        return PING_SECONDS

    def check(self) -> str | None:
        silence = time.monotonic() - self.answered
        return None if silence < SILENCE_SECONDS else f"Postgres has not answered for {silence:.0f} s"


async def main(settings: Settings, stop: Stop) -> None:
    """Serve the API until asked to stop; requests under way then end. Starts with Postgres down: it waits for it."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    pool = await open_pool(settings.database, name="api")
    nodes = Nodes(settings.redis, protocol=2, socket_timeout=SILENCE_SECONDS)
    eraser = Eraser(settings, pool, Streams(nodes, settings.keys))
    pulse, health = Pulse(pool), Health()
    health.add("postgres", pulse.check)
    health.add("stopping", stop.check)
    log.info("api.started", host=settings.host, port=settings.api_port)
    app = create_app(settings, pool, health, nodes)
    guard: Guard = app.state.guard
    steps = {
        "api.ping": pulse.step,
        "api.vitals": Vitals("api", pool, nodes).step,
        "api.erasures": eraser.step,
        "api.keys_used": guard.keyring.touch,
        "api.audit_prune": AuditLog(settings, pool).prune,
    }
    try:
        async with asyncio.TaskGroup() as tasks:
            for name, step in steps.items():
                tasks.create_task(run_loop(name, step, asyncio.Event(), stop))
            await serve(
                *(parting(app, stop), settings.host, settings.api_port, stop),
                http=JoinedProtocol,
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=settings.trusted_proxies,
            )
            await app.state.gathering.close()
    finally:
        await guard.aclose()
        await nodes.aclose()
        pool.terminate()
    log.info("api.stopped")
