"""The JavaScript client where WebSockets are blocked, and where nothing that lasts gets through."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import outbox.api.main
from outbox.local.ports import any_free
from outbox.service import Stop
from outbox.settings import Settings
from tests.clients.blocking import proxied
from tests.clients.node import talker
from tests.gateway.harness import Gate, Inbox, answers, eventually


@pytest.fixture
async def api_port(settings: Settings) -> AsyncIterator[int]:
    settings, stop = settings.model_copy(update={"api_port": any_free()}), Stop()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outbox.api.main.main(settings, stop))
        await eventually(lambda: answers(settings.api_port))
        yield settings.api_port
        stop.ask()


async def test_events_serve_where_websockets_are_blocked(gate: Gate, inbox: Inbox, api_port: int) -> None:
    await inbox.deliver("ada", 3)
    async with (
        proxied(gate.settings.gateway_port, api_port, "websocket") as proxy,
        talker(proxy.url, gate.token("ada"), cursor=1) as client,
    ):
        assert (await client.state("live"))["road"] == "events"
        await client.has([3, 2], 3)
        await inbox.deliver("ada")
        await client.has([4, 3, 2], 4)
        await client.do("read", 4)
        await client.has([4, 3, 2], 3)
        await client.do("archive", 3)
        await client.do("unarchive", 3)
        await client.do("archive", 2)
        await client.has([4, 3], 2)
        await client.do("readAll")
        await client.has([4, 3], 0)
        assert await inbox.counters("ada") == (4, 0, 9)
        assert proxy.passed[0] == "events"


async def test_looking_serves_where_nothing_lasts(gate: Gate, inbox: Inbox, api_port: int) -> None:
    await inbox.deliver("ada", 60)
    async with (
        proxied(gate.settings.gateway_port, api_port, "websocket", "events") as proxy,
        talker(proxy.url, gate.token("ada"), cursor=2) as client,
    ):
        assert (await client.state("live"))["road"] == "poll"
        await client.has([*range(60, 2, -1)], 60)
        await client.do("read", 60)
        await client.has([*range(60, 2, -1)], 59)
        await client.do("archive", 3)
        await client.has([*range(60, 3, -1)], 58)
        await client.do("readAll")
        await client.has([*range(60, 3, -1)], 0)
        await inbox.deliver("ada")
        await client.has([*range(61, 3, -1)], 1)  # at its next look
        await client.do("archiveAll")
        await client.has([], 0)
        assert set(proxy.passed) == {"users"}


async def test_a_token_that_does_not_hold_ends_it_on_any_road(gate: Gate, api_port: int) -> None:
    for blocked in (["websocket"], ["websocket", "events"]):
        async with (
            proxied(gate.settings.gateway_port, api_port, *blocked) as proxy,
            talker(proxy.url, "none") as client,
        ):
            news = await client.until(lambda news: news["type"] == "ended")
            assert "does not hold" in news["detail"]
