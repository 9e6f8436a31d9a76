"""A gateway and an API, somebody's page that embeds the inbox, and a browser to look at it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright, expect

import outbox.api.main
from outbox.local.ports import any_free
from outbox.service import Stop
from outbox.settings import Settings
from tests.browser import chromium
from tests.browser.site import Site, serving_site
from tests.gateway.conftest import inbox
from tests.gateway.harness import Gate, answers, eventually, serving

__all__ = ["inbox"]  # a fixture of the gateway's tests

DEADLINE_MS = 60_000
expect.set_options(timeout=DEADLINE_MS)


@pytest.fixture(scope="session")
def devtools() -> Iterator[str]:
    with chromium.running() as url:
        yield url


@pytest.fixture
async def browser(devtools: str) -> AsyncIterator[Browser]:
    async with async_playwright() as driver:
        browser = await driver.chromium.connect_over_cdp(devtools)
        yield browser


@pytest.fixture
def origins() -> tuple[int, list[str]]:
    """The embedding page's port, which the gateway must know before it starts."""
    port = any_free()
    return port, [f"http://localhost:{port}"]


@pytest.fixture
async def doors(
    settings: Settings, origins: tuple[int, list[str]], redis: object
) -> AsyncIterator[tuple[Gate, str]]:
    """Gateway and API as in production: only the origins named may come."""
    api_port = any_free()
    settings = settings.model_copy(
        update={"env": "production", "api_port": api_port, "gateway_origins": origins[1]}
    )
    stop = Stop()
    async with serving(settings) as gate, asyncio.TaskGroup() as tasks:
        tasks.create_task(outbox.api.main.main(settings, stop))
        await eventually(lambda: answers(api_port))
        yield gate, settings.public_api_url
        stop.ask()


@pytest.fixture
async def site(doors: tuple[Gate, str], origins: tuple[int, list[str]]) -> AsyncIterator[Site]:
    gate, api = doors
    async with serving_site(
        Site(f"http://{gate.address}", api, lambda: gate.token("ada"), origins[0])
    ) as site:
        yield site


@dataclass
class Tab:
    """A page, and what the browser complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.set_default_timeout(DEADLINE_MS)
        self.page.on("pageerror", self._on_error)
        self.page.on("console", self._on_console)

    def _on_error(self, error: Error) -> None:
        self.complaints.append(str(error))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


@pytest.fixture
async def tab(browser: Browser, site: Site) -> AsyncIterator[Tab]:
    """A page without a complaint at the end; closed before the servers are."""
    context = await browser.new_context(viewport={"width": 900, "height": 760}, locale="en-GB")
    tab = Tab(await context.new_page())
    tab.listen()
    try:
        yield tab
    finally:
        await context.close()
    assert tab.complaints == []
