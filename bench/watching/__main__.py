"""`python -m bench.watching`: the service under load, a relay killed, Redis flushed, providers ill; then every query of
dashboard and rules is asked of a real Prometheus, and the dashboard is drawn from the same answers."""

import argparse
import asyncio
import contextlib
import logging
import shutil
import sys
from pathlib import Path
from time import time

from rich.console import Console
from rich.table import Table

from bench.channels.__main__ import overlook
from bench.chaos.ground import new_folder
from bench.watching.check import EMPTY, Answer, ask_all
from bench.watching.draw import draw
from bench.watching.load import crowd
from bench.watching.server import NoPrometheusError, program
from bench.watching.stage import Stage, stage

QUIET_SECONDS = 4.0  # before and after: rates need two scrapes
console = Console()


async def trouble(on: Stage, seconds: float) -> None:
    """When each begins, as a part of the run."""
    began = asyncio.get_running_loop().time()

    async def at(part: float) -> None:
        await asyncio.sleep(max(began + part * seconds - asyncio.get_running_loop().time(), 0))

    await at(0.22)
    await on.kill_the_leader()
    await at(0.45)
    await on.flush()
    await at(0.62)
    await on.ill(0.15 * seconds)


async def watched(asked: argparse.Namespace, folder: Path) -> bool:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(overlook)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    async with stage(folder) as on:
        console.print(f"{asked.seconds:.0f} s of load; Prometheus is at {on.prometheus.url}", highlight=False)
        started = time()
        await asyncio.sleep(QUIET_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(crowd(on.doors, asked.seconds))
            tasks.create_task(trouble(on, asked.seconds))
        await asyncio.sleep(QUIET_SECONDS)
        span = (
            started,
            started + QUIET_SECONDS + asked.seconds,
        )  # producers may be late, people have gone by then
        console.print("asking every query", highlight=False)
        answers = await ask_all(on.prometheus, span)
        show(answers, everything=asked.all)
        if asked.pictures:
            console.print("drawing the dashboard", highlight=False)
            await draw(on.prometheus, span, on.events, asked.pictures)
    return all(answer.holds for answer in answers)


def show(answers: list[Answer], *, everything: bool) -> None:
    table = Table("whose", "query", "samples", title=None)
    for answer in answers:
        if everything or not answer.samples:
            why = answer.trouble or EMPTY.get(
                answer.query.where, "" if answer.samples else "[red]no answer[/]"
            )
            table.add_row(answer.query.where, answer.query.expr, f"{answer.samples} {why}".strip())
    if table.rows:
        console.print(table, highlight=False)
    good = sum(answer.holds for answer in answers)
    console.print(f"{good} of {len(answers)} queries answer", highlight=False)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.watching", description=__doc__)
    parser.add_argument("--seconds", type=float, default=240, help="of load")
    parser.add_argument("--pictures", type=Path, help="a folder for dashboard*.png; needs Chromium")
    parser.add_argument(
        "--all", action="store_true", help="show every query, not only those without an answer"
    )
    parser.add_argument("--keep", type=Path, help="a folder for logs and data; a throwaway one if not given")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    folder = asked.keep or new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    try:
        program()
        return 0 if asyncio.run(watched(asked, folder)) else 1
    except NoPrometheusError as error:
        console.print(f"[red]{error}[/]")
        return 2
    except KeyboardInterrupt:
        console.print("[red]given up[/]")
        return 130
    finally:
        if not asked.keep:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
