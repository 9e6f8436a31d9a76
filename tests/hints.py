"""A listener of the tests' own for a user's hints, as a gateway would hear them."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from outbox.nodes import Nodes


@asynccontextmanager
async def hints(url: str, channel: str) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Subscribed; what is given waits for the next hint."""
    nodes = Nodes(url, protocol=2)
    if nodes.is_cluster:
        connection = await nodes.subscriber_at(await nodes.owner(channel))
        command = "SSUBSCRIBE"
    else:
        connection, command = await nodes.subscriber(), "SUBSCRIBE"

    async def heard() -> bytes:
        message: bytes = (await connection.read_response(timeout=math.inf))[2]
        return message

    try:
        await connection.send_command(command, channel)
        await heard()
        yield heard
    finally:
        await connection.disconnect(nowait=True)
        await nodes.aclose()
