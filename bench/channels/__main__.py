"""`python -m bench.channels`: notifications over all five channels while every provider fails at times; an audit."""

import argparse
import asyncio
import contextlib
import logging
import shutil
import sys
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console

from bench.channels import evidence, producer
from bench.channels.audit import audit, lines
from bench.channels.batches import batches, show_batches
from bench.channels.ground import SETTINGS, Ground, bare_ground, ground
from bench.channels.isolation import isolation, show_isolation
from bench.channels.report import Report, save, show
from bench.chaos.ground import new_folder
from db.pool import Connection

STILL_SECONDS = 90  # nothing has become final for so long: it will not
TOLD_SECONDS = 15
console = Console()


async def produced(made: Ground, rows: int) -> list[tuple[str, str]]:
    """Committed by producers; halfway through e-mail changes its first provider."""
    committed: list[tuple[str, str]] = []
    async for batch in producer.rows(made.database.producer, rows):
        committed += batch
    return committed


async def finished(made: Ground, conn: Connection, total: int) -> None:
    """Until everything is final, or nothing has become so for a while."""
    last, moved_at, told_at, turned = -1, monotonic(), 0.0, False
    while (left := total - await evidence.final(conn)) and monotonic() - moved_at < STILL_SECONDS:
        if left != last:
            last, moved_at = left, monotonic()
        if not turned and left < total / 2:
            turned = True
            await made.configure("email", made.doubles.email("smtp", "sendgrid"))
        if monotonic() - told_at > TOLD_SECONDS:
            told_at = monotonic()
            console.print(f"{total - left} of {total} are final", highlight=False)
        await asyncio.sleep(1)


async def channels(made: Ground, rows: int, share: float) -> Report:
    began_at = monotonic()
    made.doubles.fail(share)
    leaving = asyncio.create_task(made.doubles.leave(share))
    try:
        committed = await produced(made, rows)
        async with made.servers.admin(made.database.name) as conn:
            await finished(made, conn, len(committed))
            kept = await evidence.deliveries(conn)
    finally:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    arrivals = made.doubles.arrivals.counts
    seconds = round(monotonic() - began_at, 1)
    report = Report(rows, seconds, share, arrivals.total(), SETTINGS)
    report.providers = lines(kept, arrivals)
    report.faults = dict(made.doubles.struck())
    report.tell(kept, audit(committed, kept, arrivals))
    return report


def overlook(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The doubles' HTTP server complains of connections that a fault has cut."""
    if not isinstance(context.get("exception"), OSError | asyncio.CancelledError):
        loop.default_exception_handler(context)


async def staged(asked: argparse.Namespace, folder: Path) -> bool:
    asyncio.get_running_loop().set_exception_handler(overlook)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # the same, of writes
    if asked.batches:
        async with bare_ground(folder) as made:
            tried = await batches(made, asked.rows, console)
        save("batches", tried)
        show_batches(tried, console)
        return True
    async with ground(folder) as made:
        if asked.isolation:
            found = await isolation(made, asked.rate, asked.seconds, asked.rounds, console)
            save("isolation", found)
            show_isolation(found, console)
            return found.holds
        report = await channels(made, asked.rows, asked.share)
        save("channels", report)
        show(report, console)
        return report.holds


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.channels", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=5_000, help="notifications to commit, each for one channel"
    )
    parser.add_argument(
        "--share", type=float, default=0.1, help="of requests and connections that meet a fault"
    )
    parser.add_argument(
        "--isolation", action="store_true", help="instead: what an ill provider costs the others"
    )
    parser.add_argument(
        "--batches", action="store_true", help="instead: requests a notification takes, beside one at a time"
    )
    parser.add_argument("--rate", type=float, default=50, help="isolation: rows a second")
    parser.add_argument("--seconds", type=float, default=60, help="isolation: of each phase")
    parser.add_argument(
        "--rounds", type=int, default=2, help="isolation: of an undisturbed and a disturbed phase"
    )
    parser.add_argument("--keep", type=Path, help="a folder for logs and data; a throwaway one if not given")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    folder = asked.keep or new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    try:
        return 0 if asyncio.run(staged(asked, folder)) else 1
    except KeyboardInterrupt:
        console.print("[red]given up[/]")
        return 130
    finally:
        if not asked.keep:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
