"""The API on a port, and both clients behind one face, so that each test tries both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

import outbox.api.main
from outbox.client import AsyncClient, Client, Options
from outbox.local.ports import any_free
from outbox.service import Stop
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.gateway.conftest import gate, inbox
from tests.gateway.harness import answers, eventually

__all__ = ["gate", "inbox"]  # fixtures of the gateway's tests

Token = Callable[..., str]


class Both:
    """A client of either kind: `await both.do(lambda c: c.notifications.create(…))`."""

    def __init__(self, client: Any, *, plain: bool) -> None:
        self.client, self.plain = client, plain

    async def do(self, operation: Callable[[Any], Any]) -> Any:
        if self.plain:
            return await asyncio.to_thread(operation, self.client)
        return await operation(self.client)


Open = Callable[..., Any]


@pytest.fixture(params=["async", "plain"])
def opened(request: pytest.FixtureRequest) -> Open:
    """Opens a client of either kind: `async with opened(url, token, options) as both`."""

    @asynccontextmanager
    async def open_(url: str, token: Any, options: Options | None = None) -> AsyncIterator[Both]:
        options = options or Options()
        if request.param == "plain":
            with Client(url, token, options) as plain:
                yield Both(plain, plain=True)
        else:
            async with AsyncClient(url, token, options=options) as client:
                yield Both(client, plain=False)

    return open_


@pytest.fixture
def token(settings: Settings) -> Token:
    def make(subject: str = "shop", scope: Scope = Scope.PRODUCER) -> str:
        return issue(settings, subject, scope, timedelta(minutes=5))

    return make


@pytest.fixture
async def api_url(settings: Settings) -> AsyncIterator[str]:
    settings = settings.model_copy(update={"api_port": any_free()})
    stop = Stop()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outbox.api.main.main(settings, stop))
        await eventually(lambda: answers(settings.api_port))
        yield settings.public_api_url
        stop.ask()


@pytest.fixture
async def both(opened: Open, api_url: str, token: Token) -> AsyncIterator[Both]:
    """A producer's client."""
    async with opened(api_url, token()) as both:
        yield both
