"""Processes that run the embedded servers, to be killed; and what to ask of the servers."""

import json
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psycopg
import redis

from outbox.local.servers import Embedded

ROOT = Path(__file__).parents[2]
SITE_PACKAGES = Path(asyncpg.__file__).parents[1]
SYSTEM_PYTHON = Path(f"/usr/bin/python3.{sys.version_info.minor}")
IS_ROOT = os.geteuid() == 0
APP = """
import json, os, signal, sys
from outbox.local.servers import Embedded
with Embedded(sys.argv[1]) as e:
    pids = {name: server.pid for name, server in e.info.items()}
    pids |= {"app": os.getpid(), "guard": e.guard_pid}
    if "forking" in sys.argv:
        pids["worker"] = os.fork()
        if not pids["worker"]:
            signal.pause()
    words = {"postgres": e.migrate_url, "redis": e.redis_url, "pids": pids}
    print(json.dumps(words), flush=True)
    for line in sys.stdin:
        print(json.dumps(e.alive()), flush=True)
"""


def users() -> list[str]:
    """Who can start an app here: always oneself; as root also nobody, if Python is open to it."""
    if not IS_ROOT:
        return ["oneself"]
    needed = (SYSTEM_PYTHON, ROOT / "outbox/local/servers.py", SITE_PACKAGES / "asyncpg")
    readable = 'for path; do test -r "$path" || exit 1; done'
    asked = subprocess.run(
        ["/bin/sh", "-c", readable, "sh", *needed],
        check=False,
        user="nobody",
        group=pwd.getpwnam("nobody").pw_gid,
        extra_groups=[],
    )
    return ["oneself"] if asked.returncode else ["oneself", "nobody"]


@dataclass
class App:
    """A process that runs `Embedded`, to be killed."""

    process: subprocess.Popen[str]
    postgres: str
    redis: str
    pids: dict[str, int]

    @classmethod
    def start(cls, state: Path, user: str = "oneself", *how: str) -> "App":
        process = spawn(state, user, *how)
        assert process.stdout is not None
        words = json.loads(process.stdout.readline())
        return cls(process, words["postgres"], words["redis"], words["pids"])

    def alive(self) -> bool:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("alive?\n")
        self.process.stdin.flush()
        return bool(json.loads(self.process.stdout.readline()))

    def end(self) -> int:
        """Its exit code, once it and all that it has started are gone."""
        with self.process:  # closes its input, by which it knows
            pass
        wait_until(lambda: all(gone(pid) for pid in self.pids.values()))
        return self.process.returncode


def spawn(state: Path, user: str, *how: str) -> subprocess.Popen[str]:
    nobody = user == "nobody"
    return subprocess.Popen(
        [SYSTEM_PYTHON if nobody else sys.executable, "-c", APP, state, *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{SITE_PACKAGES}"},
        user="nobody" if nobody else None,
        group=pwd.getpwnam("nobody").pw_gid if nobody else None,
        extra_groups=[] if nobody else None,
    )


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether the process has ended; one that only waits for its parent's attention has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    asked = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False, text=True)
    return asked.stdout.strip()[:1] in {"", "Z"}


def query(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def remember(postgres: str, redis_url: str, word: str) -> None:
    query(postgres, "CREATE TABLE IF NOT EXISTS words (word text)")
    query(postgres, f"INSERT INTO words VALUES ('{word}')")
    with redis.Redis.from_url(redis_url) as client:
        client.rpush("words", word)


def remembered(postgres: str, redis_url: str) -> list[str]:
    """What both know; they must agree."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        in_redis = client.lrange("words", 0, -1)
    in_postgres = [word for (word,) in query(postgres, "SELECT word FROM words")]
    assert in_redis == in_postgres
    return [str(word) for word in in_postgres]


def urls(embedded: Embedded) -> tuple[str, ...]:
    return (
        embedded.admin_url,
        embedded.migrate_url,
        embedded.database_url,
        embedded.producer_url,
        embedded.redis_url,
    )
