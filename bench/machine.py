"""What a run was measured on: without it, no figure means anything."""

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from bench.servers import Servers


def cpu_model() -> str:
    """As Linux names it; elsewhere, what Python knows."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def load() -> float:
    """The one-minute load average."""
    return os.getloadavg()[0]


async def machine(servers: Servers) -> dict[str, Any]:
    async with servers.admin() as conn, servers.redis() as redis:
        postgres = await conn.fetchval("SHOW server_version")
        info = await redis.info("server")
        settings = {
            name: await conn.fetchval(f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "full_page_writes", "wal_level", "shared_buffers")
        }
        aof = await redis.config_get("append*")
    engine = "Valkey" if "valkey_version" in info else "Redis"
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "os": platform.platform(terse=True),
        "python": sys.version.split()[0],
        "postgres": postgres,
        "redis": f"{engine} {info.get('valkey_version', info['redis_version'])}",
        "settings": settings | {key: aof[key] for key in ("appendonly", "appendfsync") if key in aof},
    }
