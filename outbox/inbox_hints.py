"""Tells every gateway that a user's inbox has changed, once the change is committed.

One server takes PUBLISH. On a cluster, where that would be passed on to every node, SPUBLISH goes to the node that
owns the channel's slot, and to no other.
"""

import asyncio
from collections.abc import Mapping, Sequence

from redis.exceptions import RedisError

from outbox.inbox import InboxChange
from outbox.log import get
from outbox.nodes import Nodes
from outbox.service import describe
from outbox.streams import Keys

log = get("inbox")

NODE_SECONDS = 1.0  # a node that hangs does not hold up the hints of the others for longer

Messages = Mapping[str, Sequence[str | bytes]]  # of each channel, in order


async def publish(nodes: Nodes, keys: Keys, user_id: str, hint: InboxChange) -> None:
    """Never raises for an outage of Redis: a hint that is lost is only late, the gateways reconcile."""
    channel, message = keys.user(user_id), hint.model_dump_json()
    if nodes.is_cluster:
        await spread(nodes, {channel: [message]})
        return
    try:
        async with nodes.at(channel) as redis:
            await redis.publish(channel, message)
    except (RedisError, OSError) as error:
        log.warning("inbox.publish_failed", error=describe(error))


async def spread(nodes: Nodes, messages: Messages) -> None:
    """Those of many users: to each node one pipeline, all at once. Never raises for an outage, as above."""
    try:
        async with asyncio.timeout(NODE_SECONDS):
            groups = await nodes.grouped(messages)
    except (RedisError, OSError) as error:
        log.warning("inbox.publish_failed", error=describe(error))
        return
    await asyncio.gather(*(_to_node(nodes, {one: messages[one] for one in group}) for group in groups))


async def _to_node(nodes: Nodes, messages: Messages) -> None:
    """A slot that has moved makes its hints late, not those sent with them: all of a pipeline is carried out."""
    try:
        async with asyncio.timeout(NODE_SECONDS), nodes.at(next(iter(messages))) as redis:
            pipe = redis.pipeline(transaction=False)
            for channel, texts in messages.items():
                for text in texts:
                    pipe.execute_command("SPUBLISH" if nodes.is_cluster else "PUBLISH", channel, text)
            await pipe.execute()
    except (RedisError, OSError) as error:
        log.warning("inbox.publish_failed", error=describe(error))
