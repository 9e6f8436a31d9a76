"""Counting in Redis how much was done in a time, over all processes together: by the algorithms of `limits`, on our own
way to its nodes, so that one server and a cluster are the same. Workers count what is sent, the API what is asked."""

from collections.abc import Sequence
from typing import Any

import redis
from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from outbox.nodes import Nodes

# Somebody waits for the answer: where Redis does not give it at once, it is done without for a while.
ANSWER_SECONDS = 0.5
BLIND_SECONDS = 1.0


def impatient(url: str) -> Nodes:
    """A way to Redis that tells an outage within ANSWER_SECONDS."""
    return Nodes(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
    )


class OnNodes(RedispyBridge):
    """The scripts of `limits`, each run where its key is."""

    def __init__(self, nodes: Nodes, prefix: str) -> None:
        super().__init__("redis://", redis, key_prefix=f"{prefix}rate")
        self.nodes = nodes

    def register_scripts(self) -> None:
        self.lua_moving_window = self.script(self.SCRIPT_MOVING_WINDOW)
        self.lua_acquire_moving_window = self.script(self.SCRIPT_ACQUIRE_MOVING_WINDOW)
        self.lua_sliding_window = self.script(self.SCRIPT_SLIDING_WINDOW)
        self.lua_acquire_sliding_window = self.script(self.SCRIPT_ACQUIRE_SLIDING_WINDOW)

    def script(self, source: bytes) -> Any:
        async def run(keys: Sequence[str], args: Sequence[Any]) -> Any:
            async with self.nodes.at(keys[0]) as node:  # the keys of one rate have one hash tag
                return await node.eval(source.decode(), len(keys), *keys, *args)

        return run


class Storage(RedisStorage):
    STORAGE_SCHEME = []  # noqa: RUF012 - limits' own word: found by no URL

    def __init__(self, nodes: Nodes, prefix: str) -> None:
        super().__init__("async+redis://", implementation="redispy")
        self.bridge = OnNodes(nodes, prefix)
        self.bridge.register_scripts()
