"""The app's side of the guard process: start it, wait until the servers are ready, let it go."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from outbox.local import guard
from outbox.local.errors import EmbeddedError
from outbox.local.ground import Ground
from outbox.local.postgres_server import PostgresServer
from outbox.local.redis_server import RedisServer

AnyServer = PostgresServer | RedisServer

START_SECONDS = 60.0  # a crash recovery may have much to read
STOP_SECONDS = sum(guard.PATIENCE) + 3


class PortTakenError(Exception):
    """Somebody took the port between the look and the bind."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.port = port


class Keeper:
    """A running guard. Its servers live until `stop`, or until this process is gone."""

    def __init__(self, process: subprocess.Popen[bytes], pids: dict[str, int]) -> None:
        self.process = process
        self.lifeline, self.answers = _pipes(process)
        self.pids = pids

    @classmethod
    def start(
        cls,
        ground: Ground,
        servers: Sequence[AnyServer],
        ports: Mapping[str, int],
        lock: int,
        log_limit: int,
    ) -> Self:
        """Returns when all servers answer. Raises `PortTakenError` or `EmbeddedError`."""
        logs = {server.name: _begin_log(ground, server.log) for server in servers}
        plan = guard.Plan(
            parent=os.getpid(),
            lock=lock,
            log_limit=log_limit,
            servers=[server.plan(ports[server.name]) for server in servers],
        )
        keeper = cls(_spawn(ground, lock), {})
        try:
            keeper._tell(plan)
            keeper.pids = keeper._hear(servers)
            keeper._wait_ready(servers, ports)
        except BaseException as error:
            keeper.stop()
            if isinstance(error, EmbeddedError):
                _raise_if_port_taken(servers, ports, logs)
            raise
        finally:
            for server in servers:
                server.forget_setup()
        return keeper

    def alive(self) -> bool:
        """Whether the guard runs; it ends with the first of its servers that does."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Closes the lifeline and waits until the servers have shut down."""
        with suppress(BrokenPipeError):
            self.lifeline.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()  # on Linux the servers are then told by the kernel
            self.process.wait()
        self.answers.close()

    def _tell(self, plan: guard.Plan) -> None:
        with suppress(BrokenPipeError):  # if it has died, its silence will tell
            self.lifeline.write(json.dumps(plan).encode() + b"\n")
            self.lifeline.flush()

    def _hear(self, servers: Sequence[AnyServer]) -> dict[str, int]:
        line = self.answers.readline()
        if not line:
            raise EmbeddedError(f"The guard process died at once.{_tails(servers)}")
        answer = json.loads(line)
        if "error" in answer:
            raise EmbeddedError(f"The servers could not be started: {answer['error']}")
        names = [server.name for server in servers]
        return dict(zip(names, answer["pids"], strict=True))

    def _wait_ready(self, servers: Sequence[AnyServer], ports: Mapping[str, int]) -> None:
        deadline = time.monotonic() + START_SECONDS
        for server in servers:
            while not server.ready(ports[server.name], self.pids[server.name]):
                if not self.alive():
                    raise EmbeddedError(f"A server ended while starting.{_tails(servers)}")
                if time.monotonic() > deadline:
                    raise EmbeddedError(
                        f"{server.name} was not ready in {START_SECONDS:.0f} s.{_tails(servers)}"
                    )
                time.sleep(0.01)


def _spawn(ground: Ground, lock: int) -> subprocess.Popen[bytes]:
    log = ground.state / "guard.log"  # tracebacks, of the last start only
    errors = guard.make_anew(str(log))
    try:
        ground.give(errors)
        return subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for the app, which then stops the servers
            pass_fds=(lock,),
        )
    finally:
        os.close(errors)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise ValueError("a guard is started with pipes")
    return process.stdin, process.stdout


def _raise_if_port_taken(
    servers: Sequence[AnyServer], ports: Mapping[str, int], logs: Mapping[str, int]
) -> None:
    for server in servers:
        if b"ddress already in use" in _read(server.log, logs[server.name]):
            raise PortTakenError(ports[server.name])


def _tails(servers: Sequence[AnyServer]) -> str:
    """The ends of the logs, for an error message."""
    tails = [
        f"\n--- {server.log} ---\n{_read(server.log, -2000).decode(errors='replace')}" for server in servers
    ]
    return "".join(tails)


def _begin_log(ground: Ground, path: Path) -> int:
    """Makes the log if need be, and tells where the lines of this start begin."""
    log = guard.open_plain(str(path), os.O_WRONLY | os.O_CREAT)
    try:
        ground.give(log)
        return os.fstat(log).st_size
    finally:
        os.close(log)


def _read(path: Path, offset: int) -> bytes:
    """The file from an offset, or its last bytes if that is negative."""
    try:
        with os.fdopen(guard.open_plain(str(path), os.O_RDONLY), "rb") as file:
            return file.read()[offset:]
    except FileNotFoundError:
        return b""
