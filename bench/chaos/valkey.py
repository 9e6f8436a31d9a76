"""A Redis (Valkey) primary with a replica: stopped, killed, promoted, robbed of its last bytes, filled up."""

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bench.chaos.ground import HOST, Ground, free_port
from bench.chaos.proxy import Proxy

READY_SECONDS = 60
QUOTA_BYTES = 512 * 1024**2


@dataclass(slots=True)
class Node:
    """One server: a folder, a port, a process."""

    ground: Ground
    name: str
    port: int = field(default_factory=free_port)
    pid: int = 0
    mounted: bool = False

    @property
    def folder(self) -> Path:
        return self.ground.folder / self.name

    @property
    def url(self) -> str:
        return f"redis://:{self.ground.password('redis')}@{HOST}:{self.port}/0"

    def client(self) -> Redis:
        """Straight to the server, past every proxy."""
        return Redis.from_url(self.url, protocol=2, socket_timeout=10)

    def make(self) -> None:
        self.ground.new_folder(self.name)
        self.mount()
        secret = self.ground.password("redis")
        lines = {
            "bind": HOST,
            "port": self.port,
            "dir": self.folder,
            "requirepass": secret,
            "masterauth": secret,
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "no",  # kill -9 leaves the page cache alone
            "auto-aof-rewrite-min-size": "32mb",
            "maxmemory-policy": "noeviction",
            "repl-diskless-sync-delay": "0",
            "repl-timeout": "10",
        }
        text = "".join(f"{key} {value}\n" for key, value in lines.items())
        path = self.ground.folder / f"{self.name}.conf"
        path.write_text(text)
        path.chmod(0o600)
        self.ground.give(path)

    def mount(self) -> None:
        """A small file system of its own, whose end can be reached. Root may; others go without."""
        if os.geteuid() == 0:
            size = f"size={QUOTA_BYTES},mode=0700,uid={self.ground.uid},gid={self.ground.gid}"
            words = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.folder)]
            self.mounted = subprocess.run(words, check=False, capture_output=True).returncode == 0

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)

    async def start(self, *more: str) -> None:
        words = (str(self.ground.valkey.exe), str(self.ground.folder / f"{self.name}.conf"), *more)
        async with asyncio.timeout(READY_SECONDS):
            while True:
                self.pid = await self.ground.start(self.name, *words)
                if await self.becomes_ready():
                    return
                await asyncio.sleep(0.05)

    async def becomes_ready(self) -> bool:
        async with self.client() as redis:
            while self.ground.kin.lives(self.pid):
                with suppress(RedisError, OSError):
                    if await redis.ping():
                        return True
                await asyncio.sleep(0.01)
        return False

    async def stop(self) -> None:
        await self.ground.kin.end(self.pid, signal.SIGTERM)

    async def kill(self) -> None:
        await self.ground.kin.end_tree(self.pid)

    def cut_tail(self, size: int) -> None:
        """Take the last bytes of the append-only file away. The server is down."""
        newest = max(self.folder.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime)
        left = newest.read_bytes()[: max(0, newest.stat().st_size - size)]
        newest.write_bytes(left.removesuffix(b"*"))  # a lone one is all that Valkey does not forgive

    async def rewrite_log(self) -> None:
        """BGREWRITEAOF, to its end."""
        async with asyncio.timeout(READY_SECONDS), self.client() as redis:
            await redis.bgrewriteaof()
            while await self.rewrites(redis):  # noqa: ASYNC110 - Redis changes it
                await asyncio.sleep(0.05)

    async def rewrites(self, redis: Redis) -> bool:
        found = await redis.info("persistence")
        return bool(found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])

    def fill_disk(self) -> Path:
        """Leave no byte free. The ballast's path, to be removed."""
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            free = os.statvfs(self.folder)
            os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - 2**20))
            file.seek(0, os.SEEK_END)
            while True:  # until it says that nothing is left
                file.write(bytes(4096))
        return ballast


@dataclass(slots=True)
class Pair:
    """The primary and its replica. `link` is the road between the two."""

    ground: Ground
    link: Proxy
    primary: Node = field(init=False)
    replica: Node = field(init=False)

    def __post_init__(self) -> None:
        self.primary = Node(self.ground, "redis-a")
        self.replica = Node(self.ground, "redis-b")

    async def open(self) -> None:
        for node in (self.primary, self.replica):
            node.make()
            await node.start()
        await self.follow()

    def close(self) -> None:
        for node in (self.primary, self.replica):
            node.unmount()

    async def follow(self) -> None:
        """The replica follows the primary, whichever is which by now."""
        self.link.target = (HOST, self.primary.port)
        self.link.swallow = False
        async with self.replica.client() as redis:
            await redis.replicaof(HOST, str(self.link.port))
        await self.synced()

    async def synced(self) -> None:
        async with asyncio.timeout(READY_SECONDS), self.replica.client() as redis:
            while await self.link_status(redis) != "up":  # noqa: ASYNC110 - Redis changes it
                await asyncio.sleep(0.05)

    async def link_status(self, redis: Redis) -> str:
        status: str = (await redis.info("replication"))["master_link_status"]
        return status

    async def promote(self) -> None:
        """The replica takes over, with what it has; the old primary is to follow it."""
        async with self.replica.client() as redis:
            await redis.replicaof("NO", "ONE")
        self.primary, self.replica = self.replica, self.primary
