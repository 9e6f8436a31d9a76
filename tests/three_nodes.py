"""A Redis Cluster of three real processes, each the master of a third of the slots, without replicas."""

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError

from outbox.local.binaries import find_redis
from outbox.local.guard import die_with_this_process
from outbox.local.ports import any_free, is_free

NODES = 3
DEADLINE_SECONDS = 60.0
# A node that does not answer for so long is held to be dead; the servers' own default is 15 s.
NODE_TIMEOUT_MS = 5000


@dataclass(slots=True)
class Node:
    """One process. Its data is kept over a restart, as a disk would: cluster map and append-only file."""

    exe: Path
    folder: Path
    port: int
    password: str
    process: subprocess.Popen[bytes] | None = None
    client: "Redis" = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.client = Redis(host="127.0.0.1", port=self.port, password=self.password, protocol=2)

    def start(self) -> None:
        options = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": self.folder,
            "requirepass": self.password,
            "cluster-enabled": "yes",
            "cluster-node-timeout": NODE_TIMEOUT_MS,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "no",  # a killed process loses nothing by it, only a machine would
            "maxmemory-policy": "noeviction",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.exe, *words],
                stdout=log,
                stderr=log,
                # Linux takes the thread for the process: a node is started in the main one.
                preexec_fn=die_with_this_process(signal.SIGKILL),  # noqa: PLW1509 - it only calls prctl
            )
        until(self.answers, f"node {self.port} answers; its log: {self.folder}/log")

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def id(self) -> str:
        name: bytes = self.ask("CLUSTER", "MYID")
        return name.decode()

    def ask(self, *words: object) -> Any:
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def is_whole(self) -> bool:
        return b"cluster_state:ok" in self.ask("CLUSTER", "INFO") and len(self.owners()) == NODES

    def owners(self) -> set[int]:
        """The ports of the nodes that have slots, as this one knows it."""
        return {port for _, _, (_, port, *_), *_ in self.ask("CLUSTER", "SLOTS")}

    def slots(self) -> set[int]:
        """Its own, as itself knows it."""
        return {
            slot
            for first, last, (_, port, *_), *_ in self.ask("CLUSTER", "SLOTS")
            if port == self.port
            for slot in range(first, last + 1)
        }


class Cluster:
    """The three nodes, and what an operator does with them."""

    def __init__(self, release: str | None = None) -> None:
        exe = find_redis(release).exe
        self.folder = Path(tempfile.mkdtemp(prefix="outbox-cluster-"))
        password = secrets.token_hex(8)
        self.nodes = [Node(exe, self.folder / str(port), port, password) for port in free_ports(NODES)]
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.url = f"redis+cluster://:{password}@{hosts}"

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self.form()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.client.close()
            if node.process and node.process.poll() is None:
                node.kill()
        shutil.rmtree(self.folder)

    def form(self) -> None:
        each = REDIS_CLUSTER_HASH_SLOTS // NODES
        first = self.nodes[0]
        for number, node in enumerate(self.nodes):
            end = REDIS_CLUSTER_HASH_SLOTS if node is self.nodes[-1] else (number + 1) * each
            node.ask("CLUSTER", "ADDSLOTSRANGE", number * each, end - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if node is not first:
                node.ask("CLUSTER", "MEET", "127.0.0.1", first.port)
        self.until_whole()

    def until_whole(self) -> None:
        """Until every node knows of all of them, and takes commands."""
        until(lambda: all(node.is_whole() for node in self.nodes), "the cluster is whole")

    def holder(self, key: str) -> Node:
        return next(node for node in self.nodes if key_slot(key.encode()) in node.slots())

    def open_move(self, key: str) -> tuple[Node, Node]:
        """Begin to move the key's slot to the next node: the source answers ASK for keys it no longer has."""
        slot, source = key_slot(key.encode()), self.holder(key)
        target = self.nodes[(self.nodes.index(source) + 1) % NODES]
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        return source, target

    def move_keys(self, key: str, source: Node, target: Node) -> int:
        """The slot's keys, as `redis-cli --cluster reshard` moves them. Gives how many."""
        slot, moved = key_slot(key.encode()), 0
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask(
                "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "AUTH", target.password, "KEYS", *keys
            )
            moved += len(keys)
        return moved

    def close_move(self, key: str, source: Node, target: Node) -> None:
        for node in (target, source, *self.nodes):
            node.ask("CLUSTER", "SETSLOT", key_slot(key.encode()), "NODE", target.id)


def until(check: Callable[[], bool], what: str) -> None:
    """Ask again and again: a process tells of nothing by itself."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {DEADLINE_SECONDS:.0f} s in vain until {what}")
        time.sleep(0.01)


def free_ports(count: int) -> list[int]:
    """Ports whose bus port (10,000 more) is free, too."""
    found: list[int] = []
    while len(found) < count:
        if is_free((port := any_free()) + 10_000):
            found.append(port)
    return found
