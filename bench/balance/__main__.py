"""`python -m bench.balance` (`make soak`): two gateways behind a balancer, killed in turn; Redis, too; an audit."""

import argparse
import contextlib
import json
import resource
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import uvloop
from rich.console import Console

from bench.balance.soak import Plan, soak
from bench.balance.stage import stage

OUT = Path(__file__).parent.parent / "out" / "balance.json"
console = Console()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.balance", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=2_000)
    parser.add_argument("--rate", type=int, default=500, help="notifications a second")
    parser.add_argument(
        "--kill-every", type=float, default=5, help="seconds between the killings of a gateway"
    )
    parser.add_argument("--redis-restarts", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--keep", type=Path, help="a folder for logs and data; a throwaway one if not given")
    return parser.parse_args()


async def staged(asked: argparse.Namespace, folder: Path) -> bool:
    plan = Plan(asked.seconds, asked.clients, asked.rate, asked.kill_every, asked.redis_restarts)
    async with stage(folder) as made:
        report = await soak(made, plan, folder, console.print)
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    console.print_json(json.dumps(asdict(report)))
    return report.holds


def main() -> int:
    asked = arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, asked.clients * 4 + 1000), hard))
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="outbox-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # an unprivileged Postgres must get in
    try:
        return 0 if uvloop.run(staged(asked, folder)) else 1
    except KeyboardInterrupt:
        console.print("[red]given up[/]")
        return 130
    finally:
        if not asked.keep:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
