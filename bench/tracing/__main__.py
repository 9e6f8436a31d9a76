"""`python -m bench.tracing`: one notification by all five channels, its trace drawn to docs/img/trace.svg."""

import argparse
import asyncio
import logging
import shutil
import sys
from pathlib import Path

from bench.channels.__main__ import overlook
from bench.chaos.ground import new_folder
from bench.tracing.collector import Told
from bench.tracing.cost import cost
from bench.tracing.stage import stage
from bench.tracing.waterfall import draw

PICTURE = Path(__file__).parent.parent.parent / "docs" / "img" / "trace.svg"
TITLE = "One notification, five channels: its trace from the POST to the last provider"


async def traced(folder: Path) -> list[Told]:
    asyncio.get_running_loop().set_exception_handler(overlook)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # the same, of writes
    async with stage(folder) as made:
        await made.warm()
        return await made.trace()


async def show(folder: Path) -> None:
    async for line in cost(folder):
        print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tracing", description=__doc__)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--cost", action="store_true", help="instead: what tracing costs, some minutes long")
    asked = parser.parse_args()
    folder = new_folder()
    folder.chmod(0o755)
    try:
        if asked.cost:
            asyncio.run(show(folder))
            return 0
        spans = asyncio.run(traced(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    asked.picture.write_text(draw(spans, TITLE))
    print(f"{len(spans)} spans of {len({span.service for span in spans})} processes: {asked.picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
