"""What the hub says to Redis, without Redis."""

import asyncio

from gateway.hub import Hub
from outbox.nodes import Nodes
from outbox.streams import Keys


def test_who_leaves_and_joins_at_once_is_still_subscribed() -> None:
    """Nothing is sent for that, so no answer confirms it."""
    hub = Hub(Nodes("redis://127.0.0.1:1/0"), Keys(), lambda user_id, change: None, asyncio.Event())
    hub.join("anna")
    assert hub._commands() == [("SUBSCRIBE", ["anna"])]
    hub._confirm("anna")
    hub.leave("anna")
    confirmed = hub.join("anna")
    assert hub._commands() == []
    assert confirmed.is_set()
