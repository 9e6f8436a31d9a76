"""20,000 sockets on one gateway process: what each costs in memory, and how fast messages reach their users' sockets;
beside socket.io with its Redis adapter. A message is published in Redis for one user, who has one socket."""

import asyncio
import json
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.peers.installed import CONSUMERS, NODE, missing_node
from bench.processes import ROOT, Running, end, running, service
from bench.run import OURS, Goal, Result, at_least, at_most, of_rounds
from bench.servers import EMPTY, Servers
from bench.session import Session
from outbox.local.ports import any_free

PEER = "socket.io"
FILES_BESIDE = 500
ROUNDS = 3
SETTLE_SECONDS = 3.0  # what the handshakes left behind is freed meanwhile
ORDER_SECONDS = 600.0
PACE = 2_000.0  # messages a second, for latency
WINDOW = 1_000


async def measure(session: Session) -> tuple[Result, list[Goal]]:
    servers = await session.servers()
    sockets = affordable(session.pick(200, 20_000))
    load = Load(servers, sockets, messages=session.pick(1_000, 100_000), paced=session.pick(500, 20_000))
    runs = {OURS: partial(load.ours)}
    if (why := missing_node(PEER)) is None:
        runs[PEER] = partial(load.socket_io)
    else:
        session.absent[PEER] = why
    found = await session.alternate(runs, beside={PEER}, rounds=min(ROUNDS, session.rounds))
    beside = [name for name in runs if name != OURS]
    result = of_rounds(found, "messages/s", beside, [])
    medians = {name: load.medians(name) for name in load.kept}
    result.detail |= {"sockets": sockets, "each": medians}
    return result, goals(result, medians, sockets)


def goals(result: Result, medians: dict[str, dict[str, float]], sockets: int) -> list[Goal]:
    ours = medians[OURS]
    found = [
        at_least("sockets open", sockets, 20_000),
        at_most("KB a socket", ours["kb_a_socket"], 50),
        at_least("messages/s ÷ socket.io", result.ratios.get(PEER), 1),
    ]
    if PEER in medians:
        found.append(at_most("p99 ÷ socket.io", ours["p99_ms"] / medians[PEER]["p99_ms"], 1))
    return found


def affordable(wanted: int) -> int:
    """As many sockets as this process and its children may open files for; raised as far as the machine lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + FILES_BESIDE
    if soft < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))
        except (ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_BESIDE)


class Load:
    """What a run does with either server, and what was seen in it besides the rate."""

    def __init__(self, servers: Servers, sockets: int, *, messages: int, paced: int) -> None:
        self.servers = servers
        self.sockets = sockets
        self.messages = messages
        self.paced = paced
        self.kept: dict[str, list[dict[str, float]]] = {}

    async def ours(self) -> float:
        more = {
            "OUTBOX_GATEWAY_CONNECTIONS_PER_ADDRESS": "100000",
            "OUTBOX_GATEWAY_STRANGERS_PER_ADDRESS": "100000",
            # What is published here is in no table: to the reconciliation it would look as if everybody was erased.
            "OUTBOX_GATEWAY_RECONCILE": "3600",
        }
        async with self.servers.fresh(EMPTY) as database:
            gateway = service("gateway", "gateway", servers=self.servers, database=database, **more)
            async with gateway as process:
                await process.ready()
                return await self.run(OURS, process.running, process.port)

    async def socket_io(self) -> float:
        await self.servers.flush()
        port = any_free()
        env = os.environ | {"PORT": str(port), "REDIS_URL": self.servers.redis_url, "NODE_ENV": "production"}
        command = [str(NODE), str(CONSUMERS / "socket_io.mjs")]
        async with running(command, env, self.servers.folder / "socket_io.log") as process:
            await process.ready()
            return await self.run(PEER, process, port)

    async def run(self, name: str, server: Running, port: int) -> float:
        pid = server.process.pid
        before, began = memory(pid), cpu_seconds(pid)
        async with crowd(name, port, self.servers) as order:
            opened = await order(do="open", count=self.sockets)
            await asyncio.sleep(SETTLE_SECONDS)
            after, settled = memory(pid), cpu_seconds(pid)
            flooded = await order(do="flood", messages=self.messages, window=WINDOW)
            busy = cpu_seconds(pid) - settled
            paced = await order(do="pace", messages=self.paced, rate=PACE)
        server.check()
        self.kept.setdefault(name, []).append(
            {
                "kb_a_socket": (after - before) / self.sockets,
                "mb": after / 1000,
                "opened_a_second": self.sockets / opened["seconds"],
                "cpu_us_an_opening": (settled - began) / self.sockets * 1e6,
                "cpu_us_a_message": busy / self.messages * 1e6,
                "p50_ms": paced["p50_ms"],
                "p99_ms": paced["p99_ms"],
                "flood_p99_ms": flooded["p99_ms"],
            }
        )
        return float(flooded["rate"])

    def medians(self, name: str) -> dict[str, float]:
        seen = self.kept[name]
        return {key: sorted(each[key] for each in seen)[len(seen) // 2] for key in seen[0]}


def memory(pid: int) -> float:
    """The process' proportional share of memory, in KB of 1,000 bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1.024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup says nothing of Pss")


def cpu_seconds(pid: int) -> float:
    """What the process has used so far, which does not depend on what else the machine does."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def crowd(dialect: str, port: int, servers: Servers) -> AsyncIterator[Any]:
    """A crowd process, as a function that gives it an order and returns its answer."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.sockets.crowd", dialect, str(port), servers.redis_url),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    orders, answers = process.stdin, process.stdout
    assert orders
    assert answers

    async def order(**words: Any) -> dict[str, Any]:
        orders.write(json.dumps(words).encode() + b"\n")
        async with asyncio.timeout(ORDER_SECONDS):
            answer = await answers.readline()
        if not answer:
            raise RuntimeError(f"the crowd of {dialect} ended while it was to {words}")
        return dict(json.loads(answer))

    try:
        yield order
    finally:
        await end(process)
