"""The API on a real pool, spoken to over ASGI, with a producer's token. Every answer must be one that was promised."""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import httpx
import pytest

from db.pool import Pool
from outbox.api.app import create_app
from outbox.probes import Health
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.outbox.api import promises


@pytest.fixture
def token(settings: Settings) -> str:
    return issue(settings, "shop", Scope.PRODUCER, timedelta(minutes=5))


@pytest.fixture
async def api(settings: Settings, pool: Pool, token: str) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings, pool, Health())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        client.event_hooks = {"response": [partial(promises.check, app)]}
        yield client
