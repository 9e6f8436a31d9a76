"""Redis as its clients reach it: the one server that REDIS_URL names, or the nodes of a cluster.

Every command of ours is about one key, so all that a cluster asks of us is which node holds it. A node that does not
hold it (any more), or does not answer, is an outage like any other: the caller's loop tries again, and by then the
new place is known. Nothing is sent twice in here, since only the caller knows what is safe to repeat.

redis-py's RedisCluster is not used: it takes no EVALSHA and no PUBLISH in a pipeline, asks a node for the key of each
XREADGROUP, and while one node is down it may reach none of the others either.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self
from urllib.parse import SplitResult, urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - as redis-py calls it
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004
    TryAgainError,
)

from outbox.errors import SettingsError

CLUSTER = "+cluster"
PORT = 6379
# Answers that say nothing about the key or the command, only that another node, or a later moment, is the right one.
ELSEWHERE = (MovedError, AskError, ClusterDownError, TryAgainError, ReadOnlyError)


class Address(NamedTuple):
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        parts = urlsplit(f"//{text}")
        return cls(parts.hostname or "", parts.port or PORT)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_cluster(url: str) -> bool:
    """redis+cluster:// or rediss+cluster://, perhaps with several nodes: any one that answers tells of all others."""
    return urlsplit(url).scheme.endswith(CLUSTER)


def seeds(url: str) -> list[Address]:
    return [Address.parse(host) for host in urlsplit(url).netloc.rpartition("@")[2].split(",")]


def url_of(url: str, node: Address) -> str:
    """How one node is reached: with the login, TLS and options that the URL gives for all."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    scheme = parts.scheme.removesuffix(CLUSTER)
    return SplitResult(scheme, f"{login}{at}{node}", parts.path, parts.query, "").geturl()


def owners(rows: Sequence[Any], asked: Address) -> dict[int, Address]:
    """CLUSTER SLOTS: the master of each slot. A node that does not know its own name is the one that was asked."""
    found: dict[int, Address] = {}
    for first, last, (host, port, *_), *_replicas in rows:
        name = host.decode() if isinstance(host, bytes) else host
        master = Address(asked.host if name in {None, "", "?"} else name, port)
        found |= dict.fromkeys(range(first, last + 1), master)
    return found


class Nodes:
    """A client for each node, made when first needed. `options` and `pool` are those of redis-py's connection pools."""

    def __init__(self, url: str, pool: type[ConnectionPool] = ConnectionPool, **options: Any) -> None:
        self.is_cluster = is_cluster(url)
        self._url = url
        self._pool = pool
        self._options = options
        if self.is_cluster:  # else a dead node would be tried again and again before another one is asked
            self._options |= {"retry": Retry(NoBackoff(), 0)}
        self.seeds = seeds(url) if self.is_cluster else []
        self._clients: dict[Address | None, Redis] = {}
        self._owners: dict[int, Address] = {}
        self._known = False  # whether the owners are worth believing
        self._looking = asyncio.Lock()

    @asynccontextmanager
    async def at(self, key: str) -> AsyncIterator[Redis]:
        """The client of the node that holds this key: for commands about it, and for what any node would take.

        Raises RedisError or OSError; never one of ELSEWHERE, which are turned into ConnectionError.
        """
        holder = await self._holder(key) if self.is_cluster else None
        client = self._client(holder)
        try:
            yield client
        except ELSEWHERE as error:
            await self._follow(error, holder, client)
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        except (ConnectionError, TimeoutError, OSError):
            self._known = False
            raise
        except RuntimeError as error:  # uvloop's word for a connection that was reset this instant
            if "closed" not in str(error):
                raise
            self._known = False
            raise ConnectionError(str(error)) from error

    async def grouped(self, keys: Iterable[str]) -> list[list[str]]:
        """Which keys one node holds together, for a pipeline. Where that changes before it is sent, `at` tells."""
        groups: dict[Address | None, list[str]] = {}
        for key in keys:
            holder = await self._holder(key) if self.is_cluster else None
            groups.setdefault(holder, []).append(key)
        return list(groups.values())

    async def subscriber(self) -> AbstractConnection:
        """A new connection, of the caller's own, to any node: what is published on one is heard on all."""
        failed: BaseException = ConnectionError("no node of the cluster is known")
        if self.is_cluster and not self._known:
            await self._look()
        for node in shuffled(self._owners.values()) if self.is_cluster else [None]:
            connection: AbstractConnection = self._client(node).connection_pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
            except (RedisError, OSError) as error:
                failed = error
            else:
                return connection
        self._known = False
        raise failed

    async def owner(self, key: str) -> Address:
        """Which node of a cluster holds this key. Raises RedisError or OSError where nobody tells."""
        return await self._holder(key)

    async def subscriber_at(self, node: Address) -> AbstractConnection:
        """A new connection, of the caller's own, to this node. Raises RedisError or OSError."""
        connection: AbstractConnection = self._client(node).connection_pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()  # type: ignore[no-untyped-call]
        return connection

    def learn(self, error: Exception | None, asked: Address) -> None:
        """What a subscriber of the caller's own heard from a node: a new place, or that the known ones are not to be
        believed."""
        if isinstance(error, MovedError):
            self._owners[error.slot_id] = Address(error.host or asked.host, error.port)
        else:
            self._known = False

    async def each(self) -> list[tuple[str, Redis]]:
        """Every node that holds slots, by host and port, or the one server. Raises RedisError or OSError where no node
        of a cluster tells of the others."""
        if not self.is_cluster:
            parts = urlsplit(self._url)
            return [(str(Address(parts.hostname or "", parts.port or PORT)), self._client(None))]
        if not self._known:
            async with self._looking:
                await self._look()
        return [(str(node), self._client(node)) for node in sorted(set(self._owners.values()))]

    async def check(self) -> None:
        """Whether Redis answers, and is what the URL says. Raises RedisError, OSError or SettingsError."""
        if self.is_cluster:
            await self._look()
            return
        client = self._client(None)
        await client.ping()
        try:
            cluster = await client.info("cluster")
        except ResponseError:  # not for this login
            return
        if cluster.get("cluster_enabled"):
            raise SettingsError("REDIS_URL is a node of a cluster; say so: redis+cluster://host:port")

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    def _client(self, node: Address | None) -> Redis:
        if node not in self._clients:
            url = url_of(self._url, node) if node else self._url
            self._clients[node] = Redis.from_pool(self._pool.from_url(url, **self._options))
        return self._clients[node]

    async def _holder(self, key: str) -> Address:
        if not self._known:
            async with self._looking:
                if not self._known:  # or somebody else has looked meanwhile
                    await self._look()
        slot = key_slot(key.encode())
        if slot not in self._owners:
            raise ConnectionError(f"no node of the cluster holds slot {slot}")
        return self._owners[slot]

    async def _follow(self, error: ResponseError, holder: Address | None, client: Redis) -> None:
        """Learn from an answer. ASK is not followed: a slot is on its way for a moment only."""
        if isinstance(error, MovedError) and holder is not None:
            self._owners[error.slot_id] = Address(error.host or holder.host, error.port)
            return
        self._known = False
        if isinstance(
            error, ReadOnlyError
        ):  # a replica now: its address may lead to the new master next time
            await client.connection_pool.disconnect()

    async def _look(self) -> None:
        """Ask the nodes in turn where the slots are."""
        failed: BaseException = ConnectionError("no node of the cluster is known")
        for node in self._candidates():
            try:
                rows = await self._client(node).execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
            except ResponseError as error:
                if "support disabled" in str(error):
                    raise SettingsError(f"REDIS_URL: {node} is no cluster; write redis://{node}") from None
                failed = error
            except (RedisError, OSError) as error:
                failed = error
            else:
                if found := owners(rows, node):  # a node that has only just begun knows of nobody
                    self._owners, self._known = found, True
                    return
        raise failed

    def _candidates(self) -> Iterable[Address]:
        """Who may tell: in random order, so that one that hangs does not hang every look."""
        return shuffled([*self.seeds, *self._owners.values()])


def shuffled(nodes: Iterable[Address]) -> list[Address]:
    """Each once."""
    every = list(set(nodes))
    random.shuffle(every)
    return every
