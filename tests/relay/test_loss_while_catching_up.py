"""A stream that is lost once more while it is being brought back."""

from typing import Any

import pytest

from db.pool import Connection
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay import catch_up
from relay.main import build
from tests.relay.conftest import Reader

INAPP = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('order.paid', $1)"


async def test_a_flush_between_two_chunks_loses_nothing(
    settings: Settings, producer: Connection, redis: Any, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by `make chaos`: of a refilled stream the first chunk was gone for good, and nobody noticed."""
    monkeypatch.setattr(catch_up, "TICK_ROWS", 1)
    relay = build(settings, nodes)
    users = ["one", "two", "three"]
    for user in users:
        await producer.execute(INAPP, user)
        while await relay.step() == 0:
            pass
    stream = settings.keys.stream("inapp")
    await redis.delete(stream)
    await relay.verify()
    assert relay.conn
    assert relay.ledger
    await catch_up.catch_up(relay.conn, relay.shipper, relay.ledger)
    assert await Reader(redis, settings).users() == ["one"], "a chunk is one row here"
    await redis.delete(stream)
    while relay.ledger.behind:
        await relay.step()
    assert await Reader(redis, settings).users() == users
    await relay.stop()
