"""Real processes on this test's own database and keys."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from outbox.settings import Settings


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The settings of the test as a process's environment."""
    given = {
        "DATABASE_URL": settings.database,
        "REDIS_URL": settings.redis,
        "OUTBOX_STATE": "/nonexistent",
        "OUTBOX_REDIS_PREFIX": settings.redis_prefix,
        "OUTBOX_ENV": "development",
        "OUTBOX_JWT_SECRET": settings.jwt_secret.get_secret_value(),
        "OUTBOX_RELAY_LEASE": "1",
        "OUTBOX_RELAY_LINGER": str(settings.relay_linger),
        "OUTBOX_WORKER_LEASE": str(settings.worker_lease),
        "OUTBOX_RETRY_BASE": str(settings.retry_base),
        "OUTBOX_RELAY_PORT": "0",
        "OUTBOX_WORKER_PORT": "0",
    }
    return os.environ | given | more


@asynccontextmanager
async def process(
    *command: str, settings: Settings, **more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m …`, killed at the end if it still lives."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, env=environment(settings, **more)
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
