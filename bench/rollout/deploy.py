"""The deploy itself, step by step, and what is to be said when all has arrived."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from bench.replica import Replica
from bench.rollout.account import Account, Step, appended_twice, lines
from bench.rollout.stage import Stage
from bench.rollout.traffic import Traffic, traffic
from bench.rollout.tree import HERE, Tree

QUIET_SECONDS = 60.0  # nothing more has arrived for so long: it will not
SHOWN = 20
LOGGED = """
SELECT channel, count(*) FROM notify.outbox, unnest(channels) AS c (channel) GROUP BY channel
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """Calls and rows a second, users, seconds before and after; `most_wait`: seconds that no notification may take;
    `and_back`: all goes back to the old code when it is done, as after a deploy that is regretted."""

    rate: float
    people: int
    seconds: float
    most_wait: float
    and_back: bool


@dataclass(slots=True)
class Report:
    old: str
    new: str
    revisions: tuple[str, str]
    notifications: int = 0
    deliveries: int = 0
    requests: int = 0
    lines: list[Any] = field(default_factory=list)
    unclean: list[str] = field(default_factory=list)  # processes that did not end by themselves
    failed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    uninvited: list[str] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    streams: dict[str, int] = field(default_factory=dict)  # entries more or less than the log has
    longest_wait: float = 0.0
    most_wait: float = 0.0

    @property
    def holds(self) -> bool:
        broken = (
            self.unclean,
            self.failed,
            self.missing,
            self.twice,
            self.uninvited,
            self.oddities,
            self.streams,
        )
        return not any(broken) and self.longest_wait <= self.most_wait


@dataclass(slots=True)
class Deploy:
    stage: Stage
    plan: Plan
    report: Report
    say: Callable[[str], None]
    steps: list[Step] = field(default_factory=list)

    async def run(self, old: Tree) -> None:
        async with traffic(self.stage, self.plan.rate, self.plan.people) as under_way:
            await self.quiet("before")
            async with self.step("migration"):
                await HERE.migrate(self.stage.servers.database(self.stage.database.name).owner)
            for replica in self.stage.fleet:
                await self.replace(replica, HERE)
            if self.plan.and_back:
                await self.quiet("between")
                for replica in self.stage.fleet:
                    await self.replace(replica, old, " back")
            await self.quiet("after")
            await under_way.end()
            await arrived(self.stage.account)
            await self.judge(under_way)

    async def quiet(self, name: str) -> None:
        async with self.step(name):
            await asyncio.sleep(self.plan.seconds)

    async def replace(self, replica: Replica, tree: Tree, suffix: str = "") -> None:
        """On the same port, so one is away meanwhile: the harder way."""
        async with self.step(f"{replica.name}{suffix}"):
            if status := await replica.stop():
                self.report.unclean.append(f"{replica.name}: status {status}")
            replica.tree = tree.path
            await replica.start()
            await replica.ready()

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        began = monotonic()
        yield
        self.steps.append(Step(name, began, monotonic()))
        self.say(f"{name}: {monotonic() - began:.1f} s")

    async def judge(self, under_way: Traffic) -> None:
        account, report = self.stage.account, self.report
        report.notifications, report.deliveries = len(account.sent), len(account.expected())
        report.requests = len(account.requests)
        report.lines = lines(account, self.steps)
        report.failed = [f"{each.what}: {each.failure}" for each in account.failed()][:SHOWN]
        report.missing, report.twice, report.uninvited = (
            [f"{channel} {notification}" for channel, notification in keys][:SHOWN]
            for keys in (account.missing(), account.twice(), account.uninvited())
        )
        report.oddities = account.oddities[:SHOWN]
        report.streams = await streams(self.stage)
        report.longest_wait = max(
            (max(line.waits.values(), default=0.0) for line in report.lines), default=0.0
        )
        report.most_wait = self.plan.most_wait


async def arrived(account: Account) -> None:
    """Everything, or nothing more for a while."""
    heard, since = -1, monotonic()
    while account.missing() and monotonic() - since < QUIET_SECONDS:
        if len(account.heard) != heard:
            heard, since = len(account.heard), monotonic()
        await asyncio.sleep(0.2)


async def streams(stage: Stage) -> dict[str, int]:
    """What Redis took in, against the log: an entry that came twice would be one more, whatever became of it."""
    async with stage.servers.admin(stage.database.name) as conn, stage.servers.redis() as redis:
        logged = {str(row["channel"]): int(row["count"]) for row in await conn.fetch(LOGGED)}
        appended: dict[str, int] = {}
        async for key in redis.scan_iter("notifications.*", _type="stream"):
            channel = key.decode().split(".")[1]
            added = (await redis.xinfo_stream(key))["entries-added"]
            appended[channel] = appended.get(channel, 0) + added
    return appended_twice(logged, appended)
