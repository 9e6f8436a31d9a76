"""Tells every gateway that a user's inbox has changed, once the change is committed."""

from redis.exceptions import RedisError

from outbox.inbox import InboxChange
from outbox.log import get
from outbox.nodes import Nodes
from outbox.service import describe
from outbox.streams import Keys

log = get("inbox")


async def publish(nodes: Nodes, keys: Keys, user_id: str, hint: InboxChange) -> None:
    """Never raises for an outage of Redis: a hint that is lost is only late, the gateways reconcile."""
    channel = keys.user(user_id)
    try:
        async with nodes.at(channel) as redis:
            await redis.publish(channel, hint.model_dump_json())
    except (RedisError, OSError) as error:
        log.warning("inbox.publish_failed", error=describe(error))
