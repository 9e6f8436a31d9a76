"""What a run stands on: Postgres and Redis, a double of every provider, two of each process, and balancers before those
that clients come to."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import httpx

from bench.balance.balancer import Balancer
from bench.channels.arrivals import Arrivals
from bench.channels.ground import HOST, Doubles
from bench.channels.mail import NAME as SMTP
from bench.processes import environment
from bench.replica import Replica
from bench.rollout.account import Account
from bench.rollout.tree import Tree
from bench.servers import Database, Servers
from outbox.local.doubles.http2 import Certificate
from outbox.local.ports import any_free

PEOPLE_SQL = Path(__file__).with_name("people.sql")
# In the order in which they are replaced; the first of each pair leads, where one does.
PROCESSES = ("relay", "worker", "gateway", "api")
COPIES = 2
PROVIDERS = {
    "email": (SMTP, "sendgrid"),
    "sms": ("twilio", "twilio-b"),
    "push": ("fcm", "apns"),
    "webhook": (HOST,),
}
CHANNEL_OF = {provider: channel for channel, providers in PROVIDERS.items() for provider in providers}
PROBE_SECONDS = 0.25
PATIENCE_SECONDS = 15
SETTINGS = {
    "OUTBOX_SHUTDOWN_DELAY": "1",  # four looks of the balancer
    "OUTBOX_EGRESS_ALLOW": "127.0.0.0/8",
    "OUTBOX_GATEWAY_CONNECTIONS_PER_ADDRESS": "100000",  # all clients come from the balancer's
    "OUTBOX_GATEWAY_STRANGERS_PER_ADDRESS": "100000",
}


class Heard(Arrivals):
    """What reached a double, in the account: a request is a delivery."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self.account = account

    def add(self, provider: str, notifications: Iterable[str]) -> None:
        for notification in notifications:
            self.account.hear(CHANNEL_OF[provider], notification, monotonic())


@dataclass(slots=True)
class Stage:
    servers: Servers
    database: Database
    account: Account
    fleet: list[Replica] = field(default_factory=list)
    balancers: dict[str, Balancer] = field(default_factory=dict)  # of "gateway" and "api"

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.balancers[name].port}"


@asynccontextmanager
async def stage(folder: Path, old: Tree, revision: str, people: int) -> AsyncIterator[Stage]:
    """All of it up and ready, the old code at this revision of the schema."""
    servers = Servers(folder / "servers", migrate=lambda url: asyncio.run(old.migrate(url, revision)))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(servers.stop)
        await servers.start()
        made = Stage(servers, await stack.enter_async_context(servers.fresh()), Account())
        doubles = Doubles(await asyncio.to_thread(Certificate.kept, folder), Heard(made.account))
        await stack.enter_async_context(doubles.up())
        await prepare(made, doubles, people)
        made.fleet = [replica(made, doubles, name, copy, old) for name in PROCESSES for copy in range(COPIES)]
        for each in made.fleet:
            stack.push_async_callback(each.stack.aclose)
            await each.start()
        for each in made.fleet:
            await each.ready()
        for name in ("gateway", "api"):
            made.balancers[name] = await stack.enter_async_context(balanced(made.fleet, name))
        yield made


async def prepare(made: Stage, doubles: Doubles, people: int) -> None:
    configs = doubles.configs() | {"email": doubles.email("smtp")}
    configs["webhook"]["timeout_seconds"] = (
        PATIENCE_SECONDS  # no answer would be another try, and no fault of ours
    )
    async with made.servers.admin(made.database.name) as conn:
        for channel, config in configs.items():
            await conn.execute(
                "UPDATE notify.channels SET config = $2 WHERE name = $1", channel, json.dumps(config)
            )
        for statement in PEOPLE_SQL.read_text().split(";\n"):
            if statement.strip():
                arguments = [people, f"{doubles.receiver.double.url}/hook"][: 1 + ("$2" in statement)]
                await conn.execute(statement, *arguments)


def replica(made: Stage, doubles: Doubles, name: str, copy: int, tree: Tree) -> Replica:
    port = any_free({each.port for each in made.fleet})
    more = SETTINGS | doubles.secrets() | {f"OUTBOX_{name.upper()}_PORT": str(port)}
    env = environment(made.servers, made.database, **more)
    label = f"{name}-{copy}"
    return Replica(label, (name,), port, env, made.servers.folder / f"{label}.log", tree.path)


@asynccontextmanager
async def balanced(fleet: list[Replica], name: str) -> AsyncIterator[Balancer]:
    """A balancer that asks each of its targets whether it is ready, as they all do."""
    ports = [each.port for each in fleet if each.words == (name,)]
    balancer = Balancer(ports)
    await balancer.start()
    probing = asyncio.create_task(probe(balancer, ports))
    try:
        yield balancer
    finally:
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
        await balancer.stop()


async def probe(balancer: Balancer, ports: list[int]) -> None:
    async with httpx.AsyncClient(timeout=PROBE_SECONDS * 4) as client:
        while True:
            ready = [port for port in ports if await is_ready(client, port)]
            balancer.targets = ready or ports
            await asyncio.sleep(PROBE_SECONDS)


async def is_ready(client: httpx.AsyncClient, port: int) -> bool:
    with suppress(httpx.TransportError):
        return (await client.get(f"http://{HOST}:{port}/readyz")).is_success
    return False
