"""`python -m bench` (`make bench`): measure, keep what was measured in bench/out/results.json, print one table."""

import argparse
import asyncio
import importlib
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import uvloop
from rich.console import Console

from bench import machine
from bench.run import keep, read
from bench.session import Session, Size
from bench.table import table

OUT = Path(__file__).parent / "out"
WIDTH = 180  # of a table that goes into a file
CASES = ("drain", "drain_held", "steady", "latency", "tax", "road", "inapp", "post", "sockets")


async def run(session: Session, cases: list[str], out: Path) -> None:
    """Each case is kept as soon as it is measured. SIGTERM ends the run as Ctrl-C does: nothing is left running."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        servers = await session.servers()
        where = await machine.machine(servers)
        for name in cases:
            case = importlib.import_module(f"bench.cases.{name}")
            session.absent.clear()
            before = machine.load()
            with session.progress(name):
                result, goals = await case.measure(session)
            result.detail["size"] = session.size.value
            result.detail["absent"] = dict(session.absent)
            result.detail["machine"] = where | {"load_1m": [before, machine.load()]}
            keep(out, name, result, goals)
    finally:
        await session.stop()


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"all, if none is named: {', '.join(CASES)}")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--short", action="store_true", help="seconds a case: whether everything still runs")
    size.add_argument("--long", action="store_true", help="`steady` for 10 minutes, `drain` up to 10 M rows")
    parser.add_argument("--out", type=Path, default=OUT / "results.json", help="the file of results")
    parser.add_argument("--keep", type=Path, help="a folder for data and logs; a throwaway one if not given")
    asked = parser.parse_args(words)
    if odd := [case for case in asked.cases if case not in CASES]:
        parser.error(f"no such case: {odd[0]} (there are {', '.join(CASES)})")
    return asked


def main(words: list[str]) -> int:
    """Status 0 where goals are missed, too: this measures, it does not judge."""
    asked = arguments(words)
    size = Size.SHORT if asked.short else Size.LONG if asked.long else Size.NORMAL
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="outbox-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # an unprivileged Postgres must get in
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    try:
        uvloop.run(run(Session(folder, size, console), asked.cases or list(CASES), asked.out))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("cut short; the cases that were measured are kept")
        return 130
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    results = read(asked.out)
    for part in table({name: results[name] for name in CASES if name in results}):
        console.print(part)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
