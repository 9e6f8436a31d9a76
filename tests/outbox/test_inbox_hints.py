"""The hint that an inbox has changed: heard where Redis is, and no error where it is not."""

import asyncio
import math

from structlog.testing import capture_logs

from outbox.inbox import InboxChange
from outbox.inbox_hints import publish
from outbox.nodes import Nodes
from outbox.streams import Keys

HINT = InboxChange(version=7, last_seq=3, unread=1, read=[2])


async def test_a_hint_is_heard_on_the_users_channel(nodes: Nodes) -> None:
    keys = Keys("hints:")
    connection = await nodes.subscriber()
    try:
        await connection.send_command("SUBSCRIBE", keys.user("anna"))
        async with asyncio.timeout(60):
            assert (await connection.read_response(timeout=math.inf))[0] == b"subscribe"
            await publish(nodes, keys, "ben", HINT)
            await publish(nodes, keys, "anna", HINT)
            _, _, message = await connection.read_response(timeout=math.inf)
        assert InboxChange.model_validate_json(message) == HINT
    finally:
        await connection.disconnect(nowait=True)


async def test_without_redis_it_is_lost_and_said_so() -> None:
    nodes = Nodes("redis://127.0.0.1:1/0")
    with capture_logs() as logs:
        await publish(nodes, Keys(), "anna", HINT)
    assert [entry["event"] for entry in logs] == ["inbox.publish_failed"]
    assert "anna" not in str(logs)
    await nodes.aclose()
