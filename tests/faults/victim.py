"""A relay or a worker that kills itself (SIGKILL) at a named point.

`python -m tests.faults.victim relay db.relay:insert_tick after 3`: the point is a function of the product,
and "before" or "after" its n-th call. Nothing in the product knows of it.
"""

import asyncio
import functools
import importlib
import os
import signal
import sys
from typing import Any

from outbox import log, service
from outbox.settings import Settings

# Few rows never come to these by themselves.
AT_LENGTH = {"db.relay:look", "db.relay:insert_tick"}


def plant(target: str, when: str, number: int) -> None:
    """Replace `module:name` or `module:Class.name`, an async function, by one that ends the process."""
    module_name, _, path = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    calls = 0

    @functools.wraps(original)
    async def planted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        last = calls == number
        if when == "before" and last:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await original(*args, **kwargs)
        if when == "after" and last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, planted)


def main() -> None:
    process, target, when, number = sys.argv[1:5]
    plant(target, when, int(number))
    if target in AT_LENGTH:
        importlib.import_module("relay.quick").QUICK_ROWS = 0  # type: ignore[attr-defined]
    log.configure(process, "json", "warning")
    settings = Settings.load()

    async def run(stop: service.Stop) -> None:
        if process == "relay":
            await importlib.import_module("relay.main").main(settings, stop)
        else:
            await importlib.import_module("workers.main").main(settings, [process], stop)

    asyncio.run(service.run(run, grace=5))


if __name__ == "__main__":
    main()
