"""`Embedded`: PostgreSQL and Redis that live as long as this process does, and keep their data.

Safe to kill: the servers are owned by a guard process (see `guard`), which stops them whatever
happens to the app, and the next start finds the data, the ports and the passwords again.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from outbox.local import ground as grounds
from outbox.local import lock as locks
from outbox.local import ports
from outbox.local.binaries import find_psql
from outbox.local.errors import EmbeddedError
from outbox.local.ground import Ground
from outbox.local.keeper import AnyServer, Keeper, PortTakenError
from outbox.local.ports import LOOPBACK
from outbox.local.postgres_server import SUPERUSER, postgres_server
from outbox.local.redis_server import redis_server
from outbox.local.roles import DATABASE, LOGINS, MIGRATOR, PRODUCER, SERVICE, set_up_roles

__all__ = ["Embedded", "EmbeddedError", "Running", "erase"]

REDIS = "redis"
PORT_TRIES = 5
LOG_LIMIT = 5_000_000  # bytes; each server keeps two files of it


@dataclass(frozen=True, slots=True)
class Running:
    """What is known of a started server."""

    origin: str  # "wheel:<module>" or "system"
    exe: Path
    major: int
    data: Path
    port: int
    pid: int


class Embedded:
    """Both servers, on 127.0.0.1, with generated passwords and ports that outlast a restart.

    A server whose URL is given is not started; that URL then serves for every role. With
    `throwaway`, for tests, nothing is synced to disk. `postgres` are settings of PostgreSQL's own;
    `releases` asks for these servers and no other ones, as in `{"postgres": "pg15"}`.
    Can be started again after a `stop`. Blocks: from an event loop call it by `asyncio.to_thread`.
    """

    def __init__(  # noqa: PLR0913 - all by name, and nobody needs them all
        self,
        state_dir: str | os.PathLike[str],
        *,
        throwaway: bool = False,
        database_url: str | None = None,
        redis_url: str | None = None,
        log_limit: int = LOG_LIMIT,
        postgres: Mapping[str, str] | None = None,
        releases: Mapping[str, str] | None = None,
    ) -> None:
        self.state_dir = Path(state_dir).absolute()
        self.throwaway = throwaway
        self.log_limit = log_limit
        self.postgres = postgres or {}
        self.releases = releases or {}
        self.admin_url = database_url or ""  # superuser, database "postgres"
        self.migrate_url = database_url or ""  # owner of the database "outbox"
        self.database_url = database_url or ""  # the service
        self.producer_url = database_url or ""  # the demo's producer
        self.redis_url = redis_url or ""
        self.psql = find_psql(None)  # the one of the server's version, once that is known
        self.info: dict[str, Running] = {}  # by "postgres" and "redis"
        self._given = (bool(database_url), bool(redis_url))
        self._keeper: Keeper | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if self.throwaway:
            grounds.drop_home(self.state_dir)

    @property
    def guard_pid(self) -> int | None:
        return self._keeper.process.pid if self._keeper else None

    def alive(self) -> bool:
        """Whether the servers started here still run. Cheap: to be polled by a supervisor."""
        return all(self._given) or (self._keeper is not None and self._keeper.alive())

    def start(self) -> Self:
        """Raises `EmbeddedError`, and leaves nothing running then."""
        if self.alive():
            return self
        self.stop()
        try:
            self._start()
        except OSError as error:
            self.stop()
            raise EmbeddedError(
                f"The embedded servers of {self.state_dir} could not be started: {error}"
            ) from error
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Returns when the servers have shut down; data, ports and passwords stay."""
        if self._keeper:
            self._keeper.stop()
            self._keeper = None
        self.info = {}

    def _start(self) -> None:
        fresh = grounds.make_state(self.state_dir)
        lock = locks.acquire(self.state_dir)
        try:
            ground = grounds.prepare(self.state_dir, fresh, self.throwaway)
            ground.give(lock)
            passwords = ground.passwords((SUPERUSER, *LOGINS, REDIS))
            servers = self._servers(ground, passwords)
            self._keeper, chosen = self._launch(ground, servers, lock)
        finally:
            os.close(lock)  # the guard has it too; a forked worker of this process must not
        self.info = {
            server.name: _running(server, chosen[server.name], self._keeper.pids[server.name])
            for server in servers
        }
        self._connect(passwords)

    def _servers(self, ground: Ground, passwords: dict[str, str]) -> list[AnyServer]:
        """Redis first: it comes up while PostgreSQL makes its cluster."""
        servers: list[AnyServer] = []
        postgres_given, redis_given = self._given
        if not redis_given:
            servers.append(redis_server(ground, passwords[REDIS], self.throwaway, self.releases.get(REDIS)))
        if not postgres_given:
            release = self.releases.get("postgres")
            postgres = postgres_server(ground, passwords[SUPERUSER], self.throwaway, self.postgres, release)
            self.psql = find_psql(postgres.binary)
            servers.append(postgres)
        return servers

    def _launch(self, ground: Ground, servers: list[AnyServer], lock: int) -> tuple[Keeper, dict[str, int]]:
        taken: set[int] = set()
        for _ in range(PORT_TRIES):
            chosen = ports.choose(ground, [server.name for server in servers], taken)
            try:
                return Keeper.start(ground, servers, chosen, lock, self.log_limit), chosen
            except PortTakenError as error:  # between our look and the server's bind
                taken.add(error.port)
        raise EmbeddedError(f"Somebody took each of {PORT_TRIES} ports chosen: {sorted(taken)}.")

    def _connect(self, passwords: dict[str, str]) -> None:
        if postgres := self.info.get("postgres"):
            set_up_roles(postgres.port, passwords)
            where = f"{LOOPBACK}:{postgres.port}"
            self.admin_url = _url(SUPERUSER, passwords, f"{where}/{SUPERUSER}")
            self.migrate_url = _url(MIGRATOR, passwords, f"{where}/{DATABASE}")
            self.database_url = _url(SERVICE, passwords, f"{where}/{DATABASE}")
            self.producer_url = _url(PRODUCER, passwords, f"{where}/{DATABASE}")
        if redis := self.info.get(REDIS):
            self.redis_url = f"redis://:{passwords[REDIS]}@{LOOPBACK}:{redis.port}/0"


def erase(state_dir: str | os.PathLike[str]) -> None:
    """Removes a state directory with all data. Raises `EmbeddedError` while its servers run."""
    state = Path(state_dir).absolute()
    if not state.exists():
        return
    lock = locks.acquire(state)
    try:
        grounds.drop_home(state)
        shutil.rmtree(state)
    finally:
        os.close(lock)


def _running(server: AnyServer, port: int, pid: int) -> Running:
    binary = server.binary
    return Running(binary.origin, binary.exe, binary.major, server.data, port, pid)


def _url(role: str, passwords: dict[str, str], where: str) -> str:
    return f"postgresql://{role}:{passwords[role]}@{where}"
