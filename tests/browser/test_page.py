"""The page of development, and the whole road up to the eyes of a user."""

import asyncio
import importlib
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect

import outbox.api.main
import relay.main
import workers.main
from outbox.client import AsyncClient
from outbox.local.ports import any_free
from outbox.probes import serve
from outbox.service import Stop
from outbox.settings import PROJECT, Settings
from outbox.tokens import Scope
from tests.browser.conftest import DEADLINE_MS
from tests.gateway.harness import Gate, answers, eventually, serving


@pytest.fixture
async def road(settings: Settings, redis: object) -> AsyncIterator[Gate]:
    """API, relay, in-app worker, gateway, as `outbox up` has them."""
    settings = settings.model_copy(update={"env": "development", "api_port": any_free()})
    stop = Stop()
    async with serving(settings) as gate, asyncio.TaskGroup() as tasks:
        tasks.create_task(outbox.api.main.main(settings, stop))
        tasks.create_task(relay.main.main(settings, stop))
        tasks.create_task(workers.main.main(settings, ["inapp"], stop))
        await eventually(lambda: answers(settings.api_port))
        yield gate
        stop.ask()


async def test_from_the_python_client_to_the_page(road: Gate, browser: Browser) -> None:
    page = await browser.new_page()
    page.set_default_timeout(DEADLINE_MS)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    await page.goto(f"http://{road.address}/#token={road.token('alice')}")
    await expect(page.get_by_text("All quiet")).to_be_visible()
    assert "token" not in page.url
    producer = road.token("shop", Scope.PRODUCER)
    async with AsyncClient(road.settings.public_api_url, producer) as client:
        sent = await client.notifications.create(
            event_type="order.paid", user_id="alice", payload={"title": "Paid", "body": "Thank you"}
        )
        await expect(page.get_by_role("row")).to_contain_text("Thank you")
        assert (await client.notifications.wait(sent.id)).status == "delivered"
    await expect(page).to_have_title("(1) Outbox")
    await page.get_by_role("button", name="Preferences").click()  # of the API, on another origin
    await expect(page.get_by_role("switch")).to_have_count(4)
    await page.close()
    assert complaints == []


async def test_a_token_that_does_not_hold_is_asked_for_again(road: Gate, browser: Browser) -> None:
    page = await browser.new_page()
    page.set_default_timeout(DEADLINE_MS)
    await page.goto(f"http://{road.address}/#token=none")
    await expect(page.get_by_role("alert")).to_contain_text("does not hold")
    await page.get_by_label("Token").fill(road.token("alice"))
    await page.get_by_role("button", name="Connect").click()
    await expect(page.get_by_text("All quiet")).to_be_visible()
    await page.close()


async def test_the_examples_run(road: Gate, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop with the tag, and a program that sends by the Python client."""
    environment = {
        "OUTBOX_API_URL": road.settings.public_api_url,
        "OUTBOX_GATEWAY_URL": f"http://{road.address}",
        "OUTBOX_JWT_SECRET": road.settings.jwt_secret.get_secret_value(),
        "OUTBOX_TOKEN": road.token("shop", Scope.PRODUCER),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    port, stop = any_free(), Stop()
    page = await browser.new_page()
    page.set_default_timeout(DEADLINE_MS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(importlib.import_module("examples.inbox_page").app, "127.0.0.1", port, stop))
        await eventually(lambda: answers(port))
        await page.goto(f"http://localhost:{port}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(PROJECT / "examples" / "python_client.py")), stdout=subprocess.PIPE
        )
        told, _ = await process.communicate()
        assert (process.returncode, told.split()[-1]) == (0, b"delivered")
        await page.get_by_role("button", name="Notifications, 1 unread").click()
        await expect(page.get_by_role("row")).to_contain_text("Order 1 is paid")
        await page.close()
        stop.ask()
