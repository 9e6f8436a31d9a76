"""A measurement as people start it: `python -m bench.…`, to its end."""

import asyncio
import sys

from outbox.settings import PROJECT


async def ran(module: str, *words: str) -> str:
    """What it shows. It must end with exit status 0; where the test ends first, it is ended with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *words, cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        shown, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, (shown + errors).decode()
    return shown.decode()
