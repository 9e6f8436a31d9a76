"""What tracing costs: processor time of the same work with and without it, by turns (`--cost`)."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from bench.cases.post import token
from bench.drains import INAPP
from bench.load import filled
from bench.measure import consumed, drained
from bench.posting import post, posts
from bench.processes import Service, service
from bench.run import Rounds, order
from bench.servers import Servers
from bench.tracing.collector import Collector

ROUNDS = 5
CLIENTS = 64
SECONDS = 3.0
ROWS = 50_000
# Of so many rows one is sampled.
EVERY = {"all": 1, "1 %": 100}
CONTEXTS = """
UPDATE notify.outbox SET traceparent = format('00-%s-%s-%s', md5(id::text), left(md5(id || 'x'), 16),
                                              CASE WHEN id % {every} = 0 THEN '01' ELSE '00' END)
"""
Work = Callable[[Mapping[str, str]], Awaitable[float]]


async def cost(folder: Path, rounds: int = ROUNDS) -> AsyncIterator[str]:
    """A line for each work and share of traces, as they are measured."""
    servers = Servers(folder / "servers")
    await servers.start()
    try:
        async with Collector(keeps=False).up() as collector:
            for share, every in EVERY.items():
                told = {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                    "OTEL_TRACES_SAMPLER_ARG": str(1 / every),
                }
                async with rows(servers, every) as backlog:
                    works: dict[str, Work] = {
                        "POST": partial(posted, servers),
                        "relay, a backlog": partial(shipped, servers, backlog),
                        "in-app worker": partial(delivered, servers, backlog),
                    }
                    for name, work in works.items():
                        yield line(f"{name}, {share}", await compared(work, told, rounds))
    finally:
        await servers.stop()


async def compared(work: Work, told: Mapping[str, str], rounds: int) -> Rounds:
    found = Rounds()
    for number in range(rounds):
        for mode in order(["off", "on"], number):
            found.add(mode, await work(told if mode == "on" else {}))
    return found


@asynccontextmanager
async def rows(servers: Servers, every: int) -> AsyncIterator[str]:
    """A database with a backlog, every row with a context."""
    name = await filled(servers, f"traced_{every}", ROWS, accepted=True)
    async with servers.admin(name) as conn:
        await conn.execute(CONTEXTS.format(every=every))
        await conn.execute("VACUUM FULL ANALYZE notify.outbox")
    yield name
    await servers.drop(name)


async def posted(servers: Servers, env: Mapping[str, str]) -> float:
    """Microseconds of the API a request."""
    async with (
        servers.fresh() as database,
        service("api", "api", servers=servers, database=database, **env) as api,
    ):
        await api.ready()
        url, headers = (
            f"http://127.0.0.1:{api.port}/v1/notifications",
            {"Authorization": f"Bearer {token(database)}"},
        )
        await post(posts(url, headers), api.port, CLIENTS, 0.1, 0.5)  # warm
        before = cpu(api)
        answered = await post(posts(url, headers), api.port, CLIENTS, 0.1, SECONDS)
        return 1e6 * (cpu(api) - before) / answered.taken


async def shipped(servers: Servers, template: str, env: Mapping[str, str]) -> float:
    """Microseconds of the relay a row, of a backlog."""
    async with (
        servers.fresh(template) as database,
        servers.redis() as redis,
        service("relay", "relay", servers=servers, database=database, **env) as relay,
    ):
        await drained(redis, ROWS, INAPP)
        used = cpu(relay)
    return 1e6 * (used - await idle(servers, "relay", env)) / ROWS


async def delivered(servers: Servers, template: str, env: Mapping[str, str]) -> float:
    """Microseconds of the in-app worker a notification."""
    async with servers.fresh(template) as database, servers.redis() as redis:
        async with service("relay", "relay", servers=servers, database=database):
            await drained(redis, ROWS, INAPP)
        async with service("worker", "worker", "inapp", servers=servers, database=database, **env) as worker:
            await consumed(redis, ROWS, INAPP)
            used = cpu(worker)
    return 1e6 * (used - await idle(servers, "worker inapp", env)) / ROWS


async def idle(servers: Servers, command: str, env: Mapping[str, str]) -> float:
    """Seconds that its start takes."""
    async with (
        servers.fresh() as database,
        service("idle", *command.split(), servers=servers, database=database, **env) as process,
    ):
        await process.ready()
        return cpu(process)


def cpu(made: Service) -> float:
    """Seconds of a core that it has used: what others do on the machine is not in it."""
    fields = Path(f"/proc/{made.running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def line(name: str, measured: Rounds) -> str:
    ratios = sorted(measured.ratios("on", "off"))
    return (
        f"{name:20} off {measured.median('off'):7.1f} µs   on {measured.median('on'):7.1f} µs   "
        f"on ÷ off {measured.ratio('off', over='on'):.2f}  ({ratios[0]:.2f} – {ratios[-1]:.2f})"
    )
