"""What a run stands on: Postgres, Redis, relay, in-app worker, two gateways, the balancer before them, the crowd."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.balance.balancer import Balancer
from bench.balance.valkey import Valkey
from bench.processes import READY_SECONDS, ROOT, end, environment, service
from bench.replica import Replica
from bench.servers import EMPTY, Database, Servers
from outbox.local.ports import any_free

GATEWAYS = 2
SETTINGS = {
    "OUTBOX_GATEWAY_CONNECTIONS_PER_ADDRESS": "100000",  # all clients come from the balancer's
    "OUTBOX_GATEWAY_STRANGERS_PER_ADDRESS": "100000",
    "OUTBOX_GATEWAY_RECONCILE": "5",
}
ORDER_SECONDS = 600.0


@dataclass(slots=True)
class Crowd:
    process: asyncio.subprocess.Process

    async def order(self, **words: Any) -> dict[str, Any]:
        """Raises RuntimeError where it has ended."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        async with asyncio.timeout(ORDER_SECONDS):
            answer = await self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the clients' process ended while it was to {words['do']}")
        return dict(json.loads(answer))


@dataclass(slots=True)
class Stage:
    servers: Servers
    database: Database
    valkey: Valkey
    balancer: Balancer
    gateways: list[Replica]
    returning: "list[asyncio.Task[None]]" = field(default_factory=list)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    servers = Servers(folder / "servers")
    valkey = Valkey.make(folder / "redis")
    async with AsyncExitStack() as stack:
        await servers.start()
        stack.push_async_callback(servers.stop)
        await valkey.start()
        stack.push_async_callback(valkey.kill)
        database = await stack.enter_async_context(servers.fresh(EMPTY))
        for words in (["relay"], ["worker", "inapp"]):
            made = service(words[0], *words, servers=servers, database=database, REDIS_URL=valkey.url)
            await (await stack.enter_async_context(made)).ready()
        gateways = [await gateway(stack, servers, database, valkey, number) for number in range(GATEWAYS)]
        balancer = Balancer([each.port for each in gateways])
        await balancer.start()
        stack.push_async_callback(balancer.stop)
        yield Stage(servers, database, valkey, balancer, gateways)


async def gateway(
    stack: AsyncExitStack, servers: Servers, database: Database, valkey: Valkey, number: int
) -> Replica:
    port = any_free()
    more = SETTINGS | {"REDIS_URL": valkey.url, "OUTBOX_GATEWAY_PORT": str(port)}
    name = f"gateway-{number}"
    env = environment(servers, database, **more)
    made = Replica(name, ("gateway",), port, env, servers.folder / f"{name}.log")
    await made.start()
    stack.push_async_callback(made.stack.aclose)
    async with asyncio.timeout(READY_SECONDS):
        await made.ready()
    return made


@asynccontextmanager
async def crowd(port: int, tokens: dict[str, str], log: Path) -> AsyncIterator[Crowd]:
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.balance.crowd", str(port)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdin
    process.stdin.write(json.dumps(tokens).encode() + b"\n")
    try:
        yield Crowd(process)
    finally:
        await end(process)
