"""What tracing costs: the same work with and without it, side by side. `python -m bench.tracing --cost` shows it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from bench.cases.post import token
from bench.drains import INAPP
from bench.load import filled
from bench.measure import consumed, drained
from bench.posting import post, posts
from bench.processes import service
from bench.run import Rounds, order
from bench.servers import Servers
from bench.tracing.collector import Collector

ROUNDS = 5
CLIENTS = 64
SECONDS = 3.0
DRAINED, DELIVERED = 100_000, 20_000
# Of so many rows one is sampled.
EVERY = {"all": 1, "1 %": 100}
CONTEXTS = """
UPDATE notify.outbox SET traceparent = format('00-%s-%s-%s', md5(id::text), left(md5(id || 'x'), 16),
                                              CASE WHEN id % {every} = 0 THEN '01' ELSE '00' END)
"""


async def cost(folder: Path, rounds: int = ROUNDS) -> Mapping[str, Rounds]:
    """By work and share of traces: rounds of `off` and `on`."""
    servers = Servers(folder / "servers")
    await servers.start()
    try:
        async with Collector(keeps=False).up() as collector:
            return await compared(servers, collector, rounds)
    finally:
        await servers.stop()


async def compared(servers: Servers, collector: Collector, rounds: int) -> Mapping[str, Rounds]:
    found: dict[str, Rounds] = {}
    for share, every in EVERY.items():
        told = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(1 / every),
        }
        async with rows(servers, DRAINED, every) as backlog, rows(servers, DELIVERED, every) as accepted:
            work = {
                "POST": partial(posted, servers),
                "relay": partial(shipped, servers, backlog),
                "in-app worker": partial(delivered, servers, accepted),
            }
            for name, run in work.items():
                measured = found.setdefault(f"{name}, {share}", Rounds())
                for number in range(rounds):
                    for mode in order(["off", "on"], number):
                        measured.add(mode, await run(told if mode == "on" else {}))
    return found


@asynccontextmanager
async def rows(servers: Servers, number: int, every: int) -> AsyncIterator[str]:
    """A database with a backlog, every row with a context."""
    name = await filled(servers, f"traced_{number}", number, accepted=number == DELIVERED)
    async with servers.admin(name) as conn:
        await conn.execute(CONTEXTS.format(every=every))
        await conn.execute("VACUUM FULL ANALYZE notify.outbox")
    yield name
    await servers.drop(name)


async def posted(servers: Servers, env: Mapping[str, str]) -> float:
    """Requests a second."""
    async with (
        servers.fresh() as database,
        service("api", "api", servers=servers, database=database, **env) as api,
    ):
        await api.ready()
        run = posts(
            f"http://127.0.0.1:{api.port}/v1/notifications", {"Authorization": f"Bearer {token(database)}"}
        )
        return (await post(run, api.port, CLIENTS, 1.0, SECONDS)).per_second


async def shipped(servers: Servers, template: str, env: Mapping[str, str]) -> float:
    """Rows a second from the log into the stream."""
    async with (
        servers.fresh(template) as database,
        servers.redis() as redis,
        service("relay", "relay", servers=servers, database=database, **env),
    ):
        return await drained(redis, DRAINED, INAPP)


async def delivered(servers: Servers, template: str, env: Mapping[str, str]) -> float:
    """Notifications a second from the stream into the inbox."""
    async with servers.fresh(template) as database, servers.redis() as redis:
        async with service("relay", "relay", servers=servers, database=database):
            await drained(redis, DELIVERED, INAPP)
        async with service("worker", "worker", "inapp", servers=servers, database=database, **env):
            return await consumed(redis, DELIVERED, INAPP)


def show(found: Mapping[str, Rounds]) -> str:
    lines = []
    for name, measured in found.items():
        ratios = sorted(measured.ratios("on", "off"))
        lines.append(
            f"{name:20} off {measured.median('off'):8,.0f}/s   on {measured.median('on'):8,.0f}/s   "
            f"on ÷ off {measured.ratio('off', over='on'):.2f}  ({ratios[0]:.2f} – {ratios[-1]:.2f})"
        )
    return "\n".join(lines)
