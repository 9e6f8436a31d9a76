"""A gateway, and inboxes to fill."""

from collections.abc import AsyncIterator

import pytest

from db.pool import Connection, Pool
from outbox.nodes import Nodes
from outbox.settings import Settings
from tests.gateway.harness import Gate, Inbox, serving


@pytest.fixture
async def gate(settings: Settings) -> AsyncIterator[Gate]:
    async with serving(settings) as gate:
        yield gate


@pytest.fixture
def inbox(settings: Settings, pool: Pool, nodes: Nodes, producer: Connection) -> Inbox:
    return Inbox(settings, pool, nodes, producer)
