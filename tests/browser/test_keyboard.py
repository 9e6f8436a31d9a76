"""The element without a mouse, and for those who hear it."""

from typing import Literal

import pytest
from playwright.async_api import Page, expect

from outbox.settings import PROJECT
from tests.browser.conftest import Tab
from tests.browser.site import Site
from tests.browser.test_inbox import open_inbox, ready
from tests.gateway.harness import Inbox

AXE_CODE = (PROJECT / "clients" / "js" / "node_modules" / "axe-core" / "axe.min.js").read_text()
# Of the page around it, which is none of ours.
NOT_OURS = ["region", "landmark-one-main", "page-has-heading-one"]


async def focused(page: Page) -> str:
    """What has the focus, as a screen reader names it."""
    return str(
        await page.evaluate("""() => {
            let at = document.activeElement
            while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
            return at.ariaLabel || at.querySelector('.title')?.textContent || at.id || at.tagName
        }""")
    )


async def press(page: Page, *keys: str) -> str:
    for key in keys:
        await page.keyboard.press(key)
    return await focused(page)


async def listed(page: Page, number: int) -> None:
    """While it is closed. Opened before its items are there, the panel itself would have the focus."""
    await ready(page)
    await expect(page.locator("outbox-inbox .row")).to_have_count(number)
    await expect(page.locator("outbox-inbox .badge")).to_have_text(str(number))


async def test_arrows_tab_and_escape(tab: Tab, site: Site, inbox: Inbox) -> None:
    for title in ("one", "two", "three"):
        await inbox.deliver("ada", title=title)
    page = tab.page
    await page.goto(site.origin)
    await listed(page, 3)
    assert await press(page, "Tab") == "Notifications, 3 unread"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await focused(page) == "three"
    assert await press(page, "ArrowDown") == "two"
    assert await press(page, "End") == "one"
    assert await press(page, "ArrowDown") == "one"
    assert await press(page, "Home") == "three"
    assert await press(page, "ArrowRight") == "Mark as read: three"
    assert await press(page, "ArrowDown") == "Mark as read: two"
    assert await press(page, "ArrowLeft") == "two"
    # The list is one stop: back by Tab is out of it, and forth to where one was.
    assert await press(page, "Shift+Tab") == "Preferences"
    assert await press(page, "Tab") == "two"
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Notifications, 3 unread")).to_be_focused()
    await expect(page.get_by_role("dialog")).to_be_hidden()


async def test_delete_archives_and_focus_stays_in_the_list(tab: Tab, site: Site, inbox: Inbox) -> None:
    for title in ("one", "two", "three"):
        await inbox.deliver("ada", title=title)
    await tab.page.goto(site.origin)
    await listed(tab.page, 3)
    await tab.page.locator("outbox-inbox .bell").click()
    rows = tab.page.get_by_role("row")
    await expect(rows).to_have_count(3)
    await press(tab.page, "Home", "ArrowDown", "Delete")
    await expect(rows.locator(".title")).to_have_text(["three", "one"])
    assert await focused(tab.page) == "one"
    await press(tab.page, "Delete")
    await expect(rows).to_have_count(1)
    assert await focused(tab.page) == "three"


async def test_what_arrives_leaves_the_focus_alone(tab: Tab, site: Site, inbox: Inbox) -> None:
    await inbox.deliver("ada", title="one")
    rows = await open_inbox(tab.page, site)
    await expect(rows).to_have_count(1)
    assert await press(tab.page, "Home") in {"one", "panel"}
    await rows.first.locator(".open").focus()
    await inbox.deliver("ada", title="two")
    await expect(rows).to_have_count(2)
    assert await focused(tab.page) == "one"


async def test_arrows_turn_with_the_script(tab: Tab, site: Site, inbox: Inbox) -> None:
    site.lang, site.dir = "ar", "rtl"
    await inbox.deliver("ada", title="واحد")
    rows = await open_inbox(tab.page, site)
    await rows.first.locator(".open").focus()
    assert await press(tab.page, "ArrowLeft") == "Mark as read: واحد"
    assert await press(tab.page, "ArrowRight") == "واحد"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(
    tab: Tab, site: Site, inbox: Inbox, scheme: Literal["light", "dark"]
) -> None:
    page = tab.page
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await inbox.deliver("ada", 3, title="Paid", body="Thank you", url="/orders/1")
    rows = await open_inbox(page, site)
    await expect(rows).to_have_count(3)
    await rows.first.locator(".open").hover()
    assert await complaints(page) == []
    await page.get_by_role("button", name="Archive: Paid").first.click()
    await expect(rows).to_have_count(2)
    assert await complaints(page) == []
    await page.get_by_role("button", name="Preferences").click()
    await expect(page.get_by_role("switch")).to_have_count(2)
    assert await complaints(page) == []
    await page.get_by_role("button", name="Back to notifications").click()
    await page.get_by_role("button", name="Archive", exact=True).click()
    await expect(page.get_by_role("grid", name="Archive").get_by_role("row")).to_have_count(1)
    assert await complaints(page) == []
    await page.keyboard.press("Escape")
    assert await complaints(page) == []


async def complaints(page: Page) -> list[str]:
    """What axe-core finds (WCAG 2.2 A and AA, and its best practices), each with its element."""
    await page.evaluate(AXE_CODE)
    off = {name: {"enabled": False} for name in NOT_OURS}
    found = await page.evaluate("async (rules) => (await axe.run({rules})).violations", off)
    return [f"{each['id']}: {each['help']}: {each['nodes'][0]['html']}" for each in found]
