"""/v1/unsubscribe: a click of a mail program at once, a page for people, and nothing for scanners."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr

from db.pool import Connection
from outbox.settings import Settings
from outbox.unsubscribe import ALL, Wish, link
from tests.outbox.api.mails import handed_over, timeline

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def client(api: httpx.AsyncClient) -> httpx.AsyncClient:
    """Somebody without a token."""
    del api.headers["Authorization"]
    return api


def url(settings: Settings, mail: UUID, event_type: str = "order.paid", user_id: str = "ada") -> str:
    return link("http://api", settings.link_key("unsubscribe"), Wish(user_id, "email", event_type, mail))


async def wishes(admin: Connection) -> dict[tuple[str, str, str], bool]:
    rows = await admin.fetch("SELECT user_id, channel, event_type, enabled FROM notify.user_channel_prefs")
    return {(row["user_id"], row["channel"], row["event_type"]): row["enabled"] for row in rows}


async def test_a_look_changes_nothing(
    client: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    mail = await handed_over(admin)
    for method in ("GET", "HEAD"):
        answer = await client.request(method, url(settings, mail))
        assert answer.status_code == 200
    page = (await client.get(url(settings, mail))).text
    assert '<html lang="en">' in page
    assert "e-mail about “order.paid”" in page
    assert page.count("<button>") == 1
    assert (await wishes(admin), await timeline(admin, mail)) == ({}, [])


async def test_one_click(client: httpx.AsyncClient, admin: Connection, settings: Settings) -> None:
    mail = await handed_over(admin)
    for _ in range(2):
        answer = await client.post(url(settings, mail), data=ONE_CLICK)
        assert (answer.status_code, "You are unsubscribed" in answer.text) == (200, True)
    assert await wishes(admin) == {("ada", "email", "order.paid"): False}
    assert await timeline(admin, mail) == [("unsubscribed", {"event_type": "order.paid"})]


async def test_one_click_as_multipart(
    client: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    mail = await handed_over(admin)
    answer = await client.post(url(settings, mail), files={"List-Unsubscribe": (None, "One-Click")})
    assert answer.status_code == 200
    assert list((await wishes(admin)).values()) == [False]


async def test_a_post_of_something_else_changes_nothing(
    client: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    mail = await handed_over(admin)
    answer = await client.post(url(settings, mail))
    assert (answer.status_code, "<button>" in answer.text) == (400, True)
    assert await wishes(admin) == {}


async def test_from_all_wins_over_what_was_wished_before(
    client: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    mail = await handed_over(admin)
    await admin.execute(
        "INSERT INTO notify.user_channel_prefs (user_id, channel, event_type) VALUES "
        "('ada', 'email', 'order.paid'), ('ada', 'sms', 'order.paid'), ('eve', 'email', 'order.paid')"
    )
    assert (await client.post(url(settings, mail, ALL), data=ONE_CLICK)).status_code == 200
    assert await wishes(admin) == {
        ("ada", "email", ALL): False,
        ("ada", "email", "order.paid"): False,
        ("ada", "sms", "order.paid"): True,
        ("eve", "email", "order.paid"): True,
    }


async def test_a_link_outlives_its_notification(
    client: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    assert (await client.post(url(settings, uuid4()), data=ONE_CLICK)).status_code == 200
    assert await wishes(admin) == {("ada", "email", "order.paid"): False}


async def test_a_link_that_nobody_signed(
    client: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    good = url(settings, await handed_over(admin))
    for bad in (
        good[:-3],
        good[:-1] + "!",
        "http://api/v1/unsubscribe/x",
        "http://api/v1/unsubscribe/%00.%FF",
    ):
        for answer in (await client.get(bad), await client.post(bad, data=ONE_CLICK)):
            assert answer.status_code == 404
            assert "This link does not work" in answer.text
    assert await wishes(admin) == {}


async def test_nothing_gets_out_of_the_page(client: httpx.AsyncClient, settings: Settings) -> None:
    answer = await client.get(url(settings, uuid4(), "<script>alert(1)</script>", "<b>"))
    assert "<script>" not in answer.text
    assert "<b>" not in answer.text
    headers: Any = answer.headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "set-cookie" not in headers


def test_the_key_is_not_the_secret_of_the_tokens(settings: Settings) -> None:
    secret = settings.jwt_secret.get_secret_value().encode()
    keys = {settings.link_key("unsubscribe"), settings.link_key("bounce"), secret, secret[:32]}
    assert len(keys) == 4 or (len(keys) == 3 and len(secret) == 32)


def test_links_survive_a_new_jwt_secret(settings: Settings) -> None:
    moved = settings.model_copy(
        update={"link_secret": settings.jwt_secret, "jwt_secret": SecretStr("n" * 40)}
    )
    assert moved.link_key("unsubscribe") == settings.link_key("unsubscribe")
