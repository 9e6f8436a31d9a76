"""How the element fits in: themes, small screens, both directions."""

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Tab
from tests.browser.site import Site
from tests.browser.test_inbox import open_inbox, ready
from tests.gateway.harness import Inbox

COLOUR = "(node) => getComputedStyle(node).backgroundColor"


@pytest.mark.parametrize(
    ("theme", "scheme", "surface"),
    [
        ("", "light dark", "rgb(24, 27, 36)"),  # the browser's wish, as the page allows both
        ("", "light", "rgb(255, 255, 255)"),  # a page that is light only stays light
        ('theme="light"', "light dark", "rgb(255, 255, 255)"),
        ('theme="dark"', "light", "rgb(24, 27, 36)"),
        ('style-less class="own"', "light", "rgb(1, 2, 3)"),
    ],
)
async def test_themes(tab: Tab, site: Site, theme: str, scheme: str, surface: str) -> None:
    site.more, site.scheme = theme, scheme
    await tab.page.emulate_media(color_scheme="dark")
    await open_inbox(tab.page, site)
    if "own" in theme:
        await tab.page.evaluate(
            "document.querySelector('outbox-inbox').style.setProperty('--outbox-surface', 'rgb(1, 2, 3)')"
        )
    assert await tab.page.locator(".panel").evaluate(COLOUR) == surface


async def test_parts(tab: Tab, site: Site) -> None:
    await tab.page.goto(site.origin)
    await tab.page.evaluate("""() => {
        const own = new CSSStyleSheet()
        own.replaceSync('outbox-inbox::part(bell) { background: rgb(4, 5, 6) }')
        document.adoptedStyleSheets = [own]
    }""")
    await ready(tab.page)
    assert await tab.page.locator(".bell").evaluate(COLOUR) == "rgb(4, 5, 6)"


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
@pytest.mark.parametrize("width", [320, 390, 900])
async def test_it_fits(tab: Tab, site: Site, inbox: Inbox, width: int, direction: str) -> None:
    site.dir = direction
    await tab.page.set_viewport_size({"width": width, "height": 640})
    await inbox.deliver("ada", 20, title="W" * 200, body="long " * 100)
    rows = await open_inbox(tab.page, site)
    await expect(rows).to_have_count(20)
    box: Any = await tab.page.locator(".panel").bounding_box()
    assert box["x"] >= 8
    assert box["x"] + box["width"] <= width - 8
    assert box["y"] + box["height"] <= 640 - 8
    assert await tab.page.evaluate("document.documentElement.scrollWidth") <= width
    body = await tab.page.locator(".body").first.evaluate("(node) => [node.scrollWidth, node.clientWidth]")
    assert body[0] == body[1]
