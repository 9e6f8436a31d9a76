"""Which faults, when: a plan by weights, spread over the run, each kind's targets hit by one fault at a time."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic, time
from typing import NamedTuple

from redis.exceptions import RedisError

from bench.chaos import disasters, faults
from bench.chaos.faults import Fault
from bench.chaos.stage import Stage
from db.pool import OUTAGES


class Kind(NamedTuple):
    """How many in a thousand, at least how many in any run, and whom no other fault may be hitting meanwhile."""

    fault: Fault
    weight: float
    least: int = 1
    alone: str = ""


KINDS = {
    "relay_kill": Kind(faults.relay_kill, 130, 5, "relay"),
    "relay_stop": Kind(faults.relay_stop, 80, 5, "relay_stop"),
    "worker_kill": Kind(faults.worker_kill, 70, 5, "worker"),
    "worker_stop": Kind(faults.worker_stop, 40, 5, "worker_stop"),
    "api_kill": Kind(faults.api_kill, 15, 2, "api"),
    "mail_kill": Kind(faults.mail_kill, 12, 2, "mail"),
    "cut": Kind(faults.cut, 200, 5),
    "delay": Kind(faults.delay, 70, 5),
    "swallow": Kind(faults.swallow, 30, 5),
    "terminate_backend": Kind(faults.terminate_backend, 130, 5),
    "client_kill": Kind(faults.client_kill, 90, 5),
    "clock": Kind(faults.clock, 50, 5, "clock"),
    "flush": Kind(faults.flush, 15, 3),
    "delete_stream": Kind(faults.delete_stream, 25, 3),
    "lose_tail": Kind(faults.lose_tail, 20, 3),
    "delete_group": Kind(faults.delete_group, 12, 3),
    "backend_kill": Kind(disasters.backend_kill, 10, 2, "postgres"),
    "postgres_restart": Kind(disasters.postgres_restart, 5, 1, "postgres"),
    "postgres_kill": Kind(disasters.postgres_kill, 6, 1, "postgres"),
    "standby_kill": Kind(disasters.standby_kill, 5, 1, "postgres"),
    "postgres_promote": Kind(disasters.postgres_promote, 4, 1, "postgres"),
    "postgres_promote_lagging": Kind(disasters.postgres_promote_lagging, 4, 1, "postgres"),
    "redis_restart": Kind(disasters.redis_restart, 7, 1, "redis"),
    "redis_kill": Kind(disasters.redis_kill, 8, 1, "redis"),
    "redis_lose_tail": Kind(disasters.redis_lose_tail, 8, 1, "redis"),
    "replica_kill": Kind(disasters.replica_kill, 5, 1, "redis"),
    "redis_promote": Kind(disasters.redis_promote, 6, 1, "redis"),
    "maxmemory": Kind(disasters.maxmemory, 8, 1, "redis"),
    "disk_full": Kind(disasters.disk_full, 6, 1, "redis"),
}
SERVERS = ("postgres", "redis")  # what is done to these is not to fail: no other fault stops them
OUT_OF_REACH = (*OUTAGES, RedisError)  # the target is down at this moment
TRIES = 100


class Struck(NamedTuple):
    """A fault that was done."""

    kind: str
    at: float  # Unix seconds
    until: float


def planned(kinds: dict[str, Kind], count: int, dice: random.Random) -> list[str]:
    """So many faults by weight, each kind at least as often as it must, in random order."""
    total = sum(kind.weight for kind in kinds.values())
    plan = [
        name
        for name, kind in kinds.items()
        for _ in range(max(min(kind.least, count), round(kind.weight * count / total)))
    ]
    plan += dice.choices(list(kinds), [kind.weight for kind in kinds.values()], k=max(0, count - len(plan)))
    dice.shuffle(plan)
    return plan


@dataclass(slots=True)
class Driver:
    stage: Stage
    plan: list[str]
    seconds: float
    dice: random.Random
    struck: list[Struck] = field(default_factory=list)
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    under_way: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """All of them, evenly over the time; those that find their target busy are late."""
        began_at = monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, name in enumerate(self.plan):
                due = began_at + self.seconds * (number + self.dice.random()) / len(self.plan)
                await asyncio.sleep(max(0.0, due - monotonic()))
                tasks.create_task(self.strike(name, random.Random(self.dice.random())))

    async def strike(self, name: str, dice: random.Random) -> None:
        kind = KINDS[name]
        async with AsyncExitStack() as alone:
            if kind.alone:
                await alone.enter_async_context(self.locks.setdefault(kind.alone, asyncio.Lock()))
            self.under_way[name] += 1
            at = await self.hit(kind, dice)
            self.under_way[name] -= 1
        if at is not None:
            self.struck.append(Struck(name, at, time()))

    async def hit(self, kind: Kind, dice: random.Random) -> float | None:
        """When it struck; None where there was nothing to strike, which does not count as a fault."""
        missed = False
        for _ in range(TRIES):
            try:
                return await kind.fault(self.stage, dice)
            except IndexError:
                missed = True  # nothing to choose from: nobody is connected, or every stream is empty
            except OUT_OF_REACH:
                if kind.alone in SERVERS:
                    raise
            await asyncio.sleep(0.2)
        if missed:
            return None
        raise RuntimeError(f"{kind.fault.__name__} could not be done")

    @property
    def by_kind(self) -> dict[str, int]:
        return dict(Counter(each.kind for each in self.struck).most_common())
