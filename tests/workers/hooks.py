"""What the tests of the webhook channel share: a receiver, a channel that leads there, a clock turned to the future."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from outbox.local.doubles.serving import running
from outbox.local.doubles.webhook import Receiver, new_secret
from tests.workers.conftest import Road

SECRET = new_secret(b"k" * 32)
ALLOW = {"egress_allow": ["127.0.0.0/8"]}


@asynccontextmanager
async def receiver(secret: str | None = SECRET) -> AsyncIterator[Receiver]:
    made = Receiver(secret)
    async with running(made.double):
        yield made


async def lead(road: Road, url: str | None, channel: str = "webhook", **config: Any) -> None:
    """Let a channel go there."""
    merged = {"secrets": ["env:HOOK_SECRET"]} | ({"url": url} if url else {}) | config
    await road.admin.execute(
        "INSERT INTO notify.channels (name, kind, config) VALUES ($1, 'webhook', $2::jsonb)"
        " ON CONFLICT (name) DO UPDATE SET config = excluded.config, enabled = true",
        channel,
        json.dumps(merged),
    )
