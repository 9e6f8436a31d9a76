"""The element on somebody's page, in a real browser, against a real gateway and API."""

import asyncio
import json
from typing import Any

from playwright.async_api import Locator, Page, expect

from db.pool import Connection
from gateway.protocol import Close, Closing
from tests.browser.conftest import Tab
from tests.browser.site import Site
from tests.gateway.harness import DEADLINE, Gate, Inbox

HOSTILE: dict[str, Any] = {
    "title": "<img src=x onerror=document.title='owned'>",
    "body": "</bdi><script>document.title='owned'</script>\u202egnp.exe",
    "url": "javascript:document.title='owned'",
}


SAID = "(words) => window.said.some((each) => each.includes(words))"


async def open_inbox(page: Page, site: Site) -> Locator:
    await page.goto(site.origin)
    await page.locator("outbox-inbox .bell").click()
    return page.get_by_role("row")


async def ready(page: Page) -> None:
    await expect(page.locator(".panel")).to_have_attribute("data-state", "live")


async def test_one_tag_under_a_strict_policy(tab: Tab, site: Site, inbox: Inbox) -> None:
    await inbox.deliver("ada", 2, title="Paid", body="Thank you", url="/orders/1")
    rows = await open_inbox(tab.page, site)
    await expect(rows).to_have_count(2)
    await expect(tab.page.get_by_role("dialog", name="Notifications 2 unread")).to_be_visible()
    await expect(tab.page.get_by_role("button", name="Notifications, 2 unread")).to_be_visible()
    await expect(rows.first.get_by_role("link")).to_have_attribute("href", f"{site.origin}/orders/1")
    assert site.given == 1


async def test_what_comes_is_shown_counted_and_said(tab: Tab, site: Site, inbox: Inbox) -> None:
    rows = await open_inbox(tab.page, site)
    await expect(tab.page.get_by_text("All quiet")).to_be_visible()
    await inbox.deliver("ada", title="First")
    await expect(tab.page.get_by_role("status").filter(has_text="New: First")).to_have_count(1)
    await inbox.deliver("ada", title="Second")
    await expect(rows.locator(".title")).to_have_text(["Second", "First"])
    await expect(tab.page.locator(".badge")).to_have_text("2")


async def test_hostile_payloads_are_text(tab: Tab, site: Site, inbox: Inbox) -> None:
    await inbox.deliver("ada", **HOSTILE)
    odd = [
        "data:text/html,x",
        "file:///etc/passwd",
        "vbscript:x",
        " javascript:x",
        "java\tscript:x",
        "http://",
        {"a": 1},
        7,
    ]
    for url in odd:
        await inbox.deliver("ada", title={"no": "text"}, body=["none"], url=url)
    rows = await open_inbox(tab.page, site)
    await expect(rows).to_have_count(len(odd) + 1)
    await expect(tab.page.get_by_text(HOSTILE["title"], exact=True)).to_be_attached()
    assert await rows.get_by_role("link").count() == 0
    assert await rows.locator("img, script").count() == 0
    await rows.last.locator(".open").click()
    await expect(rows.last.locator(".unread-word")).to_be_hidden()
    assert await tab.page.title() == "Shop"


async def test_read_unread_archive_and_undo(tab: Tab, site: Site, inbox: Inbox) -> None:
    await inbox.deliver("ada", title="Old")
    await inbox.deliver("ada", title="New")
    rows, badge = await open_inbox(tab.page, site), tab.page.locator(".badge")
    await expect(rows).to_have_count(2)
    await rows.first.hover()
    await tab.page.get_by_role("button", name="Mark as read: New").click()
    await expect(badge).to_have_text("1")
    await tab.page.get_by_role("button", name="Mark as unread: New").click()
    await expect(badge).to_have_text("2")
    await tab.page.get_by_role("button", name="Archive: New").click()
    await expect(rows).to_have_count(1)
    await expect(badge).to_have_text("1")
    await tab.page.get_by_role("button", name="Undo").click()
    await expect(rows.locator(".title")).to_have_text(["New", "Old"])
    await tab.page.get_by_role("button", name="Mark all read").click()
    await expect(badge).to_be_hidden()
    assert await inbox.counters("ada") == (2, 0, 7)


async def test_older_items(tab: Tab, site: Site, inbox: Inbox) -> None:
    await inbox.deliver("ada", 120)
    rows, older = await open_inbox(tab.page, site), tab.page.get_by_role("button", name="Show older")
    await expect(rows).to_have_count(50)
    await older.click()
    await expect(rows).to_have_count(100)
    await older.click()
    await expect(rows).to_have_count(120)
    await expect(older).to_be_hidden()
    await rows.last.locator(".open").click()
    await expect(tab.page.locator(".badge")).to_have_text("99+")
    await expect(tab.page.get_by_text("119 unread")).to_be_visible()


async def test_older_items_behind_an_archive(tab: Tab, site: Site, inbox: Inbox) -> None:
    """All that is known here is archived, and there is more."""
    await inbox.deliver("ada", 60)
    rows, older = await open_inbox(tab.page, site), tab.page.get_by_role("button", name="Show older")
    await expect(rows).to_have_count(50)
    await tab.page.locator("outbox-inbox").evaluate(
        "({client}) => client.archive(...client.items.map(i => i.seq))"
    )
    await expect(tab.page.locator(".badge")).to_have_text("10")
    await older.click()
    await expect(rows).to_have_count(10)
    await expect(older).to_be_hidden()


async def test_the_archive_is_looked_at_and_taken_out_of(tab: Tab, site: Site, inbox: Inbox) -> None:
    """Older pages of it, too; what comes out is in its place in the list, and what goes in elsewhere is seen."""
    await inbox.deliver("ada", 60, title="Long ago")
    await inbox.deliver("ada", 2, title="New")
    await inbox.archive("ada", range(1, 61))
    page = tab.page
    rows = await open_inbox(page, site)
    await expect(rows).to_have_count(2)
    opener = page.get_by_role("button", name="Archive", exact=True)
    await opener.click()
    await expect(page.get_by_role("heading", name="Archive")).to_be_visible()
    shelf = page.get_by_role("grid", name="Archive").get_by_role("row")
    await expect(shelf).to_have_count(50)
    await page.get_by_role("button", name="Show older").click()
    await expect(shelf).to_have_count(60)
    await page.get_by_role("button", name="Move back to the list: Long ago").first.click()
    await expect(shelf).to_have_count(59)
    await inbox.archive("ada", [61])
    await expect(shelf.first.locator(".title")).to_have_text("New")
    await page.get_by_role("button", name="Back to notifications").click()
    await expect(opener).to_be_focused()
    await page.get_by_role("button", name="Show older").click()
    await expect(rows.locator(".title")).to_have_text(["New", "Long ago"])


async def test_another_tab_follows(tab: Tab, site: Site, inbox: Inbox) -> None:
    await inbox.deliver("ada", 2)
    other = await tab.page.context.new_page()
    await other.goto(site.origin)
    rows = await open_inbox(tab.page, site)
    await expect(other.locator(".badge")).to_have_text("2")
    await rows.first.locator(".open").click()
    await expect(other.locator(".badge")).to_have_text("1")


async def test_selecting_tells_the_page_and_may_be_its_own_affair(tab: Tab, site: Site, inbox: Inbox) -> None:
    await inbox.deliver("ada", title="Go", url="/elsewhere")
    rows = await open_inbox(tab.page, site)
    await tab.page.evaluate(
        "addEventListener('outbox-select', (e) => { e.preventDefault(); window.seen = e.detail.item.payload.url })"
    )
    await rows.first.get_by_role("link").click()
    await expect(tab.page.locator(".badge")).to_be_hidden()
    assert await tab.page.evaluate("window.seen") == "/elsewhere"
    assert tab.page.url == f"{site.origin}/"


async def watch(page: Page) -> None:
    """Keep what the panel says: some of it is to be seen for a quarter of a second."""
    await page.evaluate("""() => {
        const panel = document.querySelector('outbox-inbox').shadowRoot.querySelector('.panel')
        window.said = []
        new MutationObserver(() => window.said.push(panel.innerText))
            .observe(panel, {attributes: true, characterData: true, childList: true, subtree: true})
    }""")


async def shown(page: Page, words: str) -> None:
    """Since it is watched."""
    async with asyncio.timeout(DEADLINE):
        while not await page.evaluate(SAID, words):  # noqa: ASYNC110 - the page tells of nothing by itself
            await asyncio.sleep(0.02)


async def test_it_comes_back_where_it_was(
    tab: Tab, site: Site, doors: tuple[Gate, str], inbox: Inbox
) -> None:
    rows = await open_inbox(tab.page, site)
    await ready(tab.page)
    gate = doors[0]
    [socket] = gate.board._lines["ada"]
    await inbox.commit("ada")  # nobody is told of it: the next connection finds it
    await watch(tab.page)
    socket.close(Closing(Close.TOO_SLOW, ""))
    await shown(tab.page, "No connection.")
    await expect(rows).to_have_count(1)
    await expect(tab.page.get_by_text("No connection.")).to_be_hidden()
    assert site.given == 2


async def test_what_is_done_offline_is_done_later(
    tab: Tab, site: Site, doors: tuple[Gate, str], inbox: Inbox
) -> None:
    await inbox.deliver("ada")
    rows = await open_inbox(tab.page, site)
    await expect(rows).to_have_count(1)
    await ready(tab.page)
    [socket] = doors[0].board._lines["ada"]
    await watch(tab.page)
    socket.close(Closing(Close.TRY_LATER, ""))
    await shown(tab.page, "No connection.")
    await rows.first.locator(".open").click()
    await expect(tab.page.locator(".badge")).to_be_hidden()
    async with asyncio.timeout(DEADLINE):
        while (await inbox.counters("ada"))[1] > 0:  # noqa: ASYNC110 - Postgres is asked
            await asyncio.sleep(0.02)


async def test_a_user_who_may_not_come_in_is_told(tab: Tab, site: Site) -> None:
    site.token = lambda: "none"
    await open_inbox(tab.page, site)
    await expect(tab.page.get_by_text("Signed out: the token does not hold")).to_be_visible()
    assert site.given == 2  # a function may have a better one, once


async def test_preferences(tab: Tab, site: Site, admin: Connection) -> None:
    await admin.execute(
        "INSERT INTO notify.user_channel_prefs (user_id, channel, event_type, enabled, constraints)"
        " VALUES ('ada', 'email', '*', true, $1)",
        json.dumps({"cap": {"count": 3, "per": 60}}),
    )
    await open_inbox(tab.page, site)
    await ready(tab.page)
    await tab.page.get_by_role("button", name="Preferences").click()
    await tab.page.get_by_role("switch", name="E-mail").click()
    await expect(tab.page.get_by_role("status").filter(has_text="Saved.")).to_have_count(1)
    [row] = await admin.fetch("SELECT * FROM notify.user_channel_prefs WHERE user_id = 'ada'")
    assert (row["channel"], row["enabled"]) == ("email", False)
    assert json.loads(row["constraints"])["cap"]["count"] == 3
    await tab.page.get_by_role("button", name="Back to notifications").click()
    await expect(tab.page.get_by_role("button", name="Preferences")).to_be_focused()


async def test_strings_and_categories_of_the_page(tab: Tab, site: Site, inbox: Inbox) -> None:
    site.lang = "de"
    await inbox.deliver("ada")
    await tab.page.goto(site.origin)
    await ready(tab.page)
    await tab.page.evaluate("""() => {
        const inbox = document.querySelector('outbox-inbox'), parent = inbox.parentNode
        inbox.strings = {bell: '{count} ungelesen', notifications: 'Meldungen', preferences: 'Wünsche'}
        inbox.categories = [{event_type: 'order.*', label: 'Bestellungen'}]
        inbox.remove()
        parent.append(inbox)
    }""")
    await tab.page.get_by_role("button", name="1 ungelesen").click()
    await tab.page.get_by_role("button", name="Wünsche").click()
    await expect(tab.page.get_by_text("Bestellungen")).to_be_visible()
