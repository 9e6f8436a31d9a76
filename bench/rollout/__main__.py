"""`python -m bench.rollout` (`make rollout`): a migration and a rolling restart under load; what clients noticed."""

import argparse
import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench.channels.__main__ import overlook
from bench.rollout.deploy import Deploy, Plan, Report
from bench.rollout.report import OUT, save, show
from bench.rollout.stage import stage
from bench.rollout.tree import HERE, NoSuchCommitError, Tree, unpacked

PREVIOUS = "cddf0f2"  # the last one before the schema's revision 0005
OLD = "old"
console = Console()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rollout", description=__doc__)
    parser.add_argument("--from", dest="commit", default=PREVIOUS, help="the commit that runs before")
    parser.add_argument("--rate", type=float, default=15, help="calls a second, and as many rows by SQL")
    parser.add_argument("--people", type=int, default=100, help="users, each with a socket")
    parser.add_argument("--seconds", type=float, default=10, help="of rest before and after")
    parser.add_argument("--most-wait", type=float, default=5, help="seconds from commit to arrival")
    parser.add_argument(
        "--and-back", action="store_true", help="then back to the old code, on the new schema"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--keep", type=Path, help="a folder for logs and data; a throwaway one if not given")
    return parser.parse_args()


async def before(commit: str, folder: Path) -> tuple[Tree, str]:
    """The code that runs before, and its revision of the schema. Without git's history: this code, a revision back."""
    try:
        old = await unpacked(commit, folder / OLD)
    except NoSuchCommitError as error:
        console.print(
            f"no old code, so this code at the revision before: {error}", style="yellow", markup=False
        )
        return HERE, HERE.revisions()[-2]
    return old, old.revisions()[-1]


async def staged(asked: argparse.Namespace, folder: Path) -> bool:
    asyncio.get_running_loop().set_exception_handler(overlook)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    old, revision = await before(asked.commit, folder)
    report = Report(old.name, HERE.name, (revision, HERE.revisions()[-1]))
    plan = Plan(asked.rate, asked.people, asked.seconds, asked.most_wait, asked.and_back)
    async with stage(folder, old, revision, asked.people) as made:
        console.print(f"{len(made.fleet)} processes are up", highlight=False)
        await Deploy(made, plan, report, lambda line: console.print(line, highlight=False)).run(old)
    save(report, asked.out)
    show(report, console)
    return report.holds


def main() -> int:
    asked = arguments()
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="outbox-rollout-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OLD).mkdir(exist_ok=True)
    folder.chmod(0o755)  # an unprivileged Postgres must get in
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing is left behind
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
