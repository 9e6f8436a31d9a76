"""`python -m bench.chaos`: a thousand faults against real processes while producers write, then an audit."""

import argparse
import asyncio
import contextlib
import random
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.chaos import evidence
from bench.chaos.account import Account, Fate
from bench.chaos.audit import audit
from bench.chaos.driver import KINDS, Driver, planned
from bench.chaos.ground import new_folder
from bench.chaos.kin import Kin
from bench.chaos.report import Report, draw, keep, report_of, save, show
from bench.chaos.stage import Stage
from bench.chaos.writers import Plan, Writer, client_of

WRITERS = 6
POSTERS = 2
QUIET_SECONDS = 15  # between two lines where nobody watches a bar
AFTERWARDS_SECONDS = 8  # more than a worker's lease: what comes a second time comes by then
STILL_SECONDS = 90  # nothing has arrived for so long: it will not
# 10 M notifications in large transactions, few of them by mail: a mail is a file at the sink.
LONG = {"rows": 10_000_000, "faults": 10_000, "minutes": 90.0, "batch": 400, "mail_share": 0.001}
OUT = Path(__file__).parent.parent / "out"
console = Console()


@dataclass(slots=True)
class Run:
    stage: Stage
    account: Account
    driver: Driver
    plan: Plan
    seed: int
    out: Path
    shown_at: float = 0.0

    async def strike(self, progress: Progress) -> None:
        """Writers and faults at once, until both are done."""
        bars = (
            progress.add_task("committed", total=self.plan.rows),
            progress.add_task("faults", total=len(self.driver.plan)),
        )
        async with asyncio.TaskGroup() as tasks:
            supervising = tasks.create_task(self.stage.supervise())
            showing = tasks.create_task(self.show(progress, bars))
            work = [tasks.create_task(writer.run(step)) for writer, step in self.writers()]
            work.append(tasks.create_task(self.driver.run()))
            await asyncio.wait(work)  # a failure cancels this, too
            supervising.cancel()
            showing.cancel()

    def writers(self) -> list[tuple[Writer, str]]:
        client = client_of(self.stage)
        steps = ["transaction"] * WRITERS + ["post"] * POSTERS
        return [
            (
                Writer(
                    f"w{n}", self.stage, self.account, self.plan, random.Random(f"{self.seed}/{n}"), client
                ),
                step,
            )
            for n, step in enumerate(steps)
        ]

    async def show(self, progress: Progress, bars: tuple[object, object]) -> None:
        while True:
            progress.update(bars[0], completed=self.account.committed)  # type: ignore[arg-type]
            progress.update(bars[1], completed=len(self.driver.struck))  # type: ignore[arg-type]
            done = f"{self.account.committed} committed, {len(self.driver.struck)} faults"
            self.say(f"{done}; under way: {', '.join(sorted(self.driver.under_way.elements()))}")
            if self.stage.watch.blind:
                raise RuntimeError(self.stage.watch.blind)
            await asyncio.sleep(0.2)

    def say(self, text: str) -> None:
        """A line at times, where nobody watches a bar."""
        if not console.is_terminal and monotonic() - self.shown_at > QUIET_SECONDS:
            self.shown_at = monotonic()
            console.print(text, highlight=False)

    async def heal(self) -> None:
        """Everybody is there and well; prepared transactions that nobody decided are decided."""
        self.stage.resume_all()
        for proxy in self.stage.proxies.values():
            proxy.delay_seconds, proxy.swallow = 0, False
        async with self.stage.postgres.primary.connection() as connection:
            for record in await connection.fetch("SELECT gid FROM pg_prepared_xacts"):
                committed = self.account.wishes[record["gid"]].fate is Fate.COMMITTED
                await connection.execute(
                    f"{'COMMIT' if committed else 'ROLLBACK'} PREPARED '{record['gid']}'"
                )

    async def settle(self, progress: Progress) -> None:
        """Wait until everything has arrived, or nothing has for a while."""
        bar = progress.add_task("delivered", total=None)
        last, moved_at = -1, monotonic()
        wanted = "SELECT coalesce(sum(cardinality(channels)), 0) FROM notify.notifications"
        done = "SELECT count(*) FROM notify.deliveries WHERE status = 'delivered'"
        async with self.stage.postgres.primary.connection() as connection:
            total = await connection.fetchval(wanted)
            while last < total and monotonic() - moved_at < STILL_SECONDS:
                if (count := await connection.fetchval(done)) != last:
                    last, moved_at = count, monotonic()
                progress.update(bar, completed=last, total=total)
                self.say(f"{last} of {total} delivered")
                await asyncio.sleep(0.3)
        await asyncio.sleep(AFTERWARDS_SECONDS)


async def chaos(run: Run) -> Report:
    began_at = monotonic()
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        await run.strike(progress)
        await run.heal()
        await run.settle(progress)
    await run.stage.watch.drain()
    watch = run.stage.watch
    histories = watch.histories.values()
    moved = {(before, entry.notification) for history in histories for before, entry in history.moved}
    kept = await evidence.kept(run.stage.postgres.primary, moved)
    mails = evidence.mails(run.stage.folder / "mail")
    findings = audit(run.account.wishes, kept, watch.histories, mails, watch.titles, run.stage.lags)
    seconds = round(monotonic() - began_at, 1)
    report = report_of(run.driver, run.account, run.stage, findings)
    report.seed, report.seconds, report.committed = run.seed, seconds, len(kept.notifications)
    report.mails = len(mails)
    keep(run.driver, run.stage.folder)
    draw(report, run.driver, run.account, run.stage, run.out)
    return report


async def staged(asked: argparse.Namespace, folder: Path) -> Report:
    kin = await Kin.open()
    stage = Stage(folder, kin)
    try:
        with console.status("starting Postgres, its standby, Redis, its replica, and the services"):
            await stage.open()
            await stage.postgres.build_standby()
            await stage.start_all()
        kinds = {name: KINDS[name] for name in asked.only or KINDS}
        if not stage.redis.primary.mounted:
            kinds.pop("disk_full", None)
        dice = random.Random(asked.seed)
        driver = Driver(stage, planned(kinds, asked.faults, dice), 60 * asked.minutes, dice)
        plan = Plan(asked.rows, 60 * asked.minutes, asked.batch, asked.mail_share)
        return await chaos(Run(stage, Account(), driver, plan, asked.seed, asked.out))
    finally:
        await stage.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--rows", type=int, default=12_000, help="notifications to commit")
    parser.add_argument("--faults", type=int, default=1_100)
    parser.add_argument(
        "--minutes", type=float, default=4.5, help="how long the faults and rows are spread over"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"kinds of {', '.join(KINDS)}")
    parser.add_argument("--batch", type=int, default=3, help="notifications a transaction, at most")
    parser.add_argument("--mail-share", type=float, default=0.4, help="how many go out by mail, too")
    parser.add_argument("--long", action="store_true", help="10 M notifications in large transactions")
    parser.add_argument("--keep", type=Path, help="a folder for logs and data; a throwaway one if not given")
    parser.add_argument("--out", type=Path, default=OUT, help="a folder for chaos.json and chaos.svg")
    asked = parser.parse_args()
    if asked.long:
        parser.set_defaults(**LONG)
        asked = parser.parse_args()
    return asked


def main() -> int:
    asked = arguments()
    folder = asked.keep or new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    console.print(f"seed {asked.seed}, {asked.rows} notifications, {asked.faults} faults; logs in {folder}")
    try:
        report = asyncio.run(staged(asked, folder))
    except KeyboardInterrupt:
        console.print("[red]given up[/]")
        return 130
    finally:
        if not asked.keep:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
    save(report, asked.out)
    show(report, console)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
