"""`python -m bench.stack`: the compose stack under load, each container killed or all restarted; then an audit."""

import argparse
import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from time import monotonic, time

from rich.console import Console

from bench.chaos.audit import Findings, audit
from bench.stack import aof, evidence
from bench.stack.audit import Struck, by_channel, gap, live, unsettled
from bench.stack.containers import Containers
from bench.stack.listeners import Listener
from bench.stack.report import Report, show
from bench.stack.writers import HttpWriter, Load, SqlWriter
from db.pool import Connection
from outbox.client import AsyncClient, Options, Retry
from outbox.settings import Settings
from outbox.tokens import Scope, issue

SCHEMA = Path(__file__).with_name("schema.sql")
WRITERS = 2  # by SQL, and as many by HTTP
LISTENERS = 5
QUIET_SECONDS = 8  # nothing is done to anybody: what the gaps are compared with
STILL_SECONDS = 150  # nothing has arrived for so long, more than two leases: it will not
# A producer that goes on until its notification is taken, whoever is down.
PATIENT = Retry(attempts=200, base=0.1, cap=1.0)
console = Console()


@dataclass(slots=True)
class Run:
    containers: Containers
    connection: Connection
    load: Load
    rate: float
    down_seconds: float
    struck: list[Struck] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)

    def client(self, user: str, scope: Scope, retry: Retry) -> AsyncClient:
        token = issue(Settings.load(), user, scope, timedelta(hours=6))
        return AsyncClient(self.containers.front_url, token, options=Options(retry=retry))

    @contextlib.asynccontextmanager
    async def under_load(self, retry: Retry) -> AsyncIterator[None]:
        """Producers and browsers at work."""
        pause = 2 * WRITERS / self.rate
        producer = self.client("stack", Scope.PRODUCER, retry)
        users = [f"user{number}" for number in range(LISTENERS)]
        self.listeners = [Listener(user, self.client(user, Scope.USER, retry)) for user in users]
        async with producer, asyncio.TaskGroup() as tasks:
            listening = [tasks.create_task(each.run()) for each in self.listeners]
            for number in range(WRITERS):
                dice = random.Random(number)
                sql = SqlWriter(f"w{number}", self.containers.producer_url, self.load, dice)
                tasks.create_task(sql.run(2 * pause))  # two rows a transaction
                tasks.create_task(HttpWriter(producer, self.load, dice).run(pause))
            await self.note("(nobody)", asyncio.sleep(QUIET_SECONDS))
            yield
            self.load.over = True
            await self.settle()
            await self.heard()
            for each in listening:
                each.cancel()

    async def note(self, service: str, work: Awaitable[None]) -> None:
        at = time()
        await work
        self.struck.append(Struck(service, at, time()))
        console.print(
            f"{service} {time() - at:.1f} s, {self.load.account.committed} committed", highlight=False
        )

    async def hurt(self, service: str) -> None:
        await self.containers.kill(service)
        await asyncio.sleep(self.down_seconds)
        await self.containers.start(service)

    async def hurt_all(self, services: list[str], rest_seconds: float) -> None:
        """In turn, with time between them for what was held up."""
        for service in services:
            await self.note(service, self.hurt(service))
            await asyncio.sleep(rest_seconds)

    async def settle(self) -> None:
        """Until everything has arrived, or nothing has for a while."""
        self.connection = await evidence.connect(self.containers)  # Postgres was among the killed
        last, moved_at = -1, monotonic()
        while last != 0 and monotonic() - moved_at < STILL_SECONDS:
            if (count := await evidence.still_open(self.connection)) != last:
                last, moved_at = count, monotonic()
            await asyncio.sleep(0.5)

    async def heard(self) -> None:
        """Until the live inboxes have been told everything, or half a minute is over."""
        deadline = monotonic() + 30
        kept = await evidence.inboxes(self.connection, [each.user for each in self.listeners])
        while monotonic() < deadline:
            if all(len(each.told) >= len(kept.get(each.user, ())) for each in self.listeners):
                return
            await asyncio.sleep(0.2)


async def judged(run: Run, folder: Path) -> Report:
    kept = await evidence.kept(run.connection)
    histories = aof.histories(await evidence.redis_log(run.containers))
    mails = await evidence.mails_of(run.containers, folder)
    ids = {id_: title for title, id_ in kept.notifications.items()}
    found: Findings = audit(run.load.account.wishes, kept, histories, mails, ids, ())
    arrivals = by_channel(await evidence.arrived(run.connection))
    gaps = {each: gap(arrivals, each.at, each.until) for each in run.struck}
    told = {each.user: each.told for each in run.listeners}
    heard = live(told, await evidence.inboxes(run.connection, told))
    ended = unsettled(await evidence.deliveries(run.connection))
    return Report(gaps, len(kept.notifications), found, heard, ended, run.load.failures, run.load.slowest)


async def staged(asked: argparse.Namespace, folder: Path) -> Report:
    containers = Containers(folder / "state")
    try:
        with console.status("building the image, starting the stack"):
            began = monotonic()
            await containers.up()
        console.print(f"up and healthy in {monotonic() - began:.0f} s")
        connection = await evidence.connect(containers)
        await connection.execute(SCHEMA.read_text())
        run = Run(containers, connection, Load(), asked.rate, asked.down)
        async with run.under_load(Retry() if asked.rolling else PATIENT):
            if asked.rolling:
                await run.note("all, one by one", containers.restart_all())
            else:
                await run.hurt_all(asked.only or await containers.services(), asked.rest)
        return await judged(run, folder)
    finally:
        containers.down()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.stack", description=__doc__)
    parser.add_argument(
        "--rolling", action="store_true", help="restart all one by one, instead of killing each"
    )
    parser.add_argument("--rate", type=float, default=20, help="notifications a second")
    parser.add_argument("--down", type=float, default=4, help="seconds that a killed container stays down")
    parser.add_argument("--rest", type=float, default=10, help="seconds until the next one is killed")
    parser.add_argument("--only", type=lambda text: text.split(","), help="services, in this order")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    folder = Path(tempfile.mkdtemp(prefix="outbox-stack-"))
    try:
        report = asyncio.run(staged(asked, folder))
    except KeyboardInterrupt:
        console.print("[red]given up[/]")
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(report, console)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
