"""A run: producers, faults, and what is left to say when both are over."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import jwt

from bench.balance import evidence
from bench.balance.audit import Told, audit
from bench.balance.stage import Crowd, Stage, crowd
from bench.processes import JWT_SECRET
from bench.replica import Replica
from db.pool import Connection

BURSTS_A_SECOND = 20
DOWN_SECONDS = (0.2, 2.0)
SETTLE_SECONDS = 120.0
LOOK_SECONDS = 10.0
HEALED_SECONDS = 60.0
INSERT = (
    "INSERT INTO notify.outbox (event_type, user_id, channels, payload) VALUES ('soak', $1, '{inapp}', $2)"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how many, how fast, and how often a gateway is killed (seconds)."""

    seconds: float
    clients: int
    rate: int
    kill_every: float
    redis_restarts: int

    def users(self) -> list[str]:
        return [f"user-{number}" for number in range(self.clients)]


@dataclass(slots=True)
class Report:
    plan: Plan
    seconds: float = 0.0
    committed: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    crowd: dict[str, Any] = field(default_factory=dict)
    late: dict[str, Any] = field(default_factory=dict)
    findings: dict[str, Any] = field(default_factory=dict)
    holds: bool = False


async def soak(made: Stage, plan: Plan, folder: Path, say: Callable[[str], None]) -> Report:
    report, faults = Report(plan), Counter[str]()
    users = plan.users()
    async with crowd(made.balancer.port, tokens(users), folder / "crowd.log") as clients:
        await clients.order(do="come")
        say(f"{plan.clients} clients are here")
        began_at = monotonic()
        async with asyncio.TaskGroup() as tasks:
            trouble = [
                tasks.create_task(killing(made, plan, faults)),
                tasks.create_task(restarting(made, plan, faults)),
            ]
            report.committed = await produce(made, plan)
            for each in trouble:
                each.cancel()
        await healed(made)
        report.seconds = round(monotonic() - began_at, 1)
        say(f"{report.committed} notifications are committed; {dict(faults)}")
        await judged(made, clients, report, folder)
    report.faults = dict(faults)
    return report


def tokens(users: list[str]) -> dict[str, str]:
    claims = {
        "scope": "user",
        "iss": "outbox",
        "aud": "outbox",
        "exp": datetime.now(UTC) + timedelta(hours=2),
    }
    return {user: jwt.encode(claims | {"sub": user}, JWT_SECRET, "HS256") for user in users}


async def produce(made: Stage, plan: Plan) -> int:
    """At the plan's rate, each row for a user by chance. How many were committed."""
    conn = await asyncpg.connect(made.database.producer)
    users, sent, began = plan.users(), 0, monotonic()
    payload = json.dumps({"title": "Your order has been paid", "body": "It leaves our house tomorrow."})
    try:
        while (elapsed := monotonic() - began) < plan.seconds:
            due = int(elapsed * plan.rate) + 1
            await conn.executemany(INSERT, [(random.choice(users), payload) for _ in range(due - sent)])
            sent = due
            await asyncio.sleep(1 / BURSTS_A_SECOND)
    finally:
        await conn.close()
    return sent


async def killing(made: Stage, plan: Plan, faults: Counter[str]) -> None:
    """The gateways in turn, one as soon as the other is back. The other one takes all clients meanwhile."""
    number = 0
    while True:
        victim, other = (made.gateways[(number + each) % len(made.gateways)] for each in (0, 1))
        number += 1
        pause = asyncio.create_task(asyncio.sleep(plan.kill_every))
        await other.up.wait()
        await pause
        faults["gateway killed"] += 1
        await victim.kill()
        made.returning.append(asyncio.create_task(returned(victim)))


async def returned(gateway: Replica) -> None:
    await asyncio.sleep(random.uniform(*DOWN_SECONDS))
    await gateway.start()
    await gateway.ready()


async def restarting(made: Stage, plan: Plan, faults: Counter[str]) -> None:
    """Redis, at even distances."""
    for _ in range(plan.redis_restarts):
        await asyncio.sleep(plan.seconds / (plan.redis_restarts + 1))
        await asyncio.shield(restarted(made))
        faults["Redis restarted"] += 1


async def restarted(made: Stage) -> None:
    await made.valkey.kill()
    await asyncio.sleep(random.uniform(*DOWN_SECONDS))
    await made.valkey.start()


async def healed(made: Stage) -> None:
    """Whatever was under way when the producer ended is done."""
    for gateway in made.gateways:
        async with asyncio.timeout(HEALED_SECONDS):
            await gateway.up.wait()


async def judged(made: Stage, clients: Crowd, report: Report, folder: Path) -> None:
    async with made.servers.admin(made.database.name) as conn:
        await delivered(conn, report.committed)
        report.late = await settled(conn, clients, report.plan)
        kept = await evidence.kept(conn)
    path = folder / "told.jsonl"
    report.crowd = await clients.order(do="tell", path=str(path))
    told = [Told(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    found = audit(told, kept)
    report.findings = found.shown()
    complete = sum(len(inbox.ids) for inbox in kept.values()) == report.committed
    complete = complete and len(told) == report.plan.clients
    report.holds = complete and found.holds and not report.late["number"]


async def delivered(conn: Connection, committed: int) -> None:
    """The in-app worker has done its part, or the time for it is over."""
    until = monotonic() + SETTLE_SECONDS
    while monotonic() < until:
        if await conn.fetchval("SELECT count(*) FROM notify.inbox") >= committed:
            return
        await asyncio.sleep(0.2)


async def settled(conn: Connection, clients: Crowd, plan: Plan) -> dict[str, Any]:
    """Who is not where the own inbox is. Clients that come back go on reading items, which moves their inboxes: where
    these stand is asked again until both agree, or the time is over."""
    until = monotonic() + SETTLE_SECONDS
    while True:
        places = {user: [0, 0] for user in plan.users()} | await evidence.places(conn)
        late = await clients.order(do="settle", inboxes=places, seconds=LOOK_SECONDS)
        if not late["number"] or monotonic() > until:
            return late
