"""How Redis (or Valkey) is set up, started and found ready."""

import json
import os
import signal
import socket
from dataclasses import dataclass, replace
from pathlib import Path

from outbox.local import guard
from outbox.local.binaries import Binary, find_redis, runs_as
from outbox.local.ground import Ground
from outbox.local.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class RedisServer:
    name = "redis"
    ground: Ground
    binary: Binary
    password: str
    throwaway: bool

    @property
    def log(self) -> Path:
        return self.ground.state / "redis.log"

    @property
    def data(self) -> Path:
        """Named by engine and major version: Redis 8 and Valkey 9 do not read each other's files."""
        return self.ground.home / self.binary.release

    def plan(self, port: int) -> guard.Server:
        self.data.mkdir(mode=0o700, exist_ok=True)
        config = self._configure(port)
        self.ground.give_tree(self.data)
        return guard.Server(
            name=self.name,
            argv=[str(self.binary.exe), str(config)],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            cwd=str(self.ground.home),
            uid=self.ground.uid,
            gid=self.ground.gid,
            log=str(self.log),
            stop=[signal.SIGTERM, signal.SIGTERM, signal.SIGKILL],
            setup=None,
        )

    def ready(self, port: int, pid: int) -> bool:
        """Answers a PING, with our password: a foreign server on the port cannot deceive us."""
        try:
            with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False

    def forget_setup(self) -> None:
        """Nothing: it starts from an empty directory."""

    def _configure(self, port: int) -> Path:
        """In a private file, since a command line can be read by everybody."""
        config = self.ground.home / "redis.conf"
        lines = {
            "bind": LOOPBACK,
            "port": port,
            "dir": json.dumps(str(self.data), ensure_ascii=False),
            "requirepass": self.password,
            "daemonize": "no",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "appendonly": "no" if self.throwaway else "yes",
            "appendfsync": "everysec",
        }
        with os.fdopen(guard.make_anew(str(config)), "w") as file:
            self.ground.give(file.fileno())
            file.writelines(f"{key} {value}\n" for key, value in lines.items())
        return config


def redis_server(ground: Ground, password: str, throwaway: bool, release: str | None = None) -> RedisServer:
    binary = find_redis(release)
    if os.geteuid() == 0 and not runs_as(binary.exe, ground.uid, ground.gid):
        ground = replace(ground, uid=0, gid=0)  # below a 0700 directory; Redis does run as root
    return RedisServer(ground, binary, password, throwaway)
