"""Recipients who are kept elsewhere: whole workers, a table of the producer's, and a user service on loopback."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from db.pool import Connection, open_pool
from outbox.errors import SettingsError
from outbox.local.doubles.faults import Kind
from outbox.local.doubles.serving import Double, running
from outbox.settings import Settings
from tests.conftest import Database
from tests.workers.conftest import Road, eventually
from tests.workers.mail import MailServer
from workers.recipients import from_settings, recipient, try_query

QUERY = "SELECT id AS user_id, mail AS email, lang AS locale FROM app.users WHERE id = ANY ($1)"
USERS = {
    "ada": {"email": "ada@example.com", "locale": "de", "role": "admin"},
    "weird/ü?": {"email": "weird@example.com"},
    "nomail": {"phone": "+4930123456"},
    "odd": {"email": "not an address", "locale": 7},
}
# What Python reads as JSON, or fails to, and Postgres cannot hold.
ODD_ANSWERS = {"lone": b'{"email": "a\\ud800@example.com"}', "deep": b'{"a":' + b"[" * 60_000}


@pytest.fixture
async def users(admin: Connection) -> None:
    """The producer's own table."""
    await admin.execute("""
        CREATE SCHEMA app;
        CREATE TABLE app.users (id text PRIMARY KEY, mail text, lang text);
        INSERT INTO app.users VALUES ('ada', 'ada@example.com', 'de'), ('odd', 'not an address', NULL);
        GRANT USAGE ON SCHEMA app TO outbox_app; GRANT SELECT ON app.users TO outbox_app""")


@pytest.fixture
async def service() -> AsyncIterator[Double]:
    """The user service, which wants a token."""

    async def contact(request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer sesame":
            return Response(status_code=401)
        if odd := ODD_ANSWERS.get(request.path_params["user_id"]):
            return Response(odd, media_type="application/json")
        found = USERS.get(request.path_params["user_id"])
        return JSONResponse(found) if found else Response(status_code=404)

    async with running(Double("users", [Route("/users/{user_id:path}", contact)])) as double:
        yield double


def asking(road: Road, double: Double) -> Road:
    values = {
        "recipient_url": f"{double.url}/users/{{user_id}}",
        "recipient_token": "sesame",
        "recipient_cache": 60,
    }
    road.settings = Settings(**{**road.settings.model_dump(by_alias=True), **values})
    return road


@pytest.mark.usefixtures("users")
async def test_by_a_query(road: Road, mail: MailServer) -> None:
    reached, unknown, odd = [await road.send("email", user_id=user) for user in ("ada", "nobody", "odd")]
    async with road.worker("email", recipient_query=QUERY, recipient_cache=0):
        await road.until(reached, "delivered", "email")
        await road.until(unknown, "failed", "email")
        await road.until(odd, "failed", "email")
        await road.admin.execute("UPDATE app.users SET mail = 'new@example.com' WHERE id = 'ada'")
        moved = await road.send("email")
        await road.until(moved, "delivered", "email")
    assert [message["To"] for message in mail.mails] == ["ada@example.com", "new@example.com"]
    assert await road.admin.fetchval("SELECT locale FROM notify.recipients WHERE user_id = 'ada'") == "de"
    [(event, detail)] = await road.events(unknown)
    assert (event, detail["error_class"]) == ("failed", "no_contact")


async def test_by_a_service(road: Road, mail: MailServer, service: Double) -> None:
    asking(road, service)
    sent = [await road.send("email", user_id=user) for user in ("ada", "weird/ü?", "ada")]
    without = [await road.send("email", user_id=user) for user in ("nobody", "nomail", "odd")]
    async with road.worker("email"):
        for notification_id in sent:
            await road.until(notification_id, "delivered", "email")
        for notification_id in without:
            await road.until(notification_id, "failed", "email")
        asked = service.front.connections
        again = await road.send("email")
        await road.until(again, "delivered", "email")
        assert service.front.connections == asked  # an answer serves for a while
    assert {message["To"] for message in mail.mails} == {"ada@example.com", "weird@example.com"}


@pytest.mark.parametrize("kind", [Kind.ANSWER, Kind.MALFORMED, Kind.RESET, Kind.REFUSED, Kind.GARBAGE])
async def test_a_service_that_fails_is_asked_again(
    road: Road, mail: MailServer, service: Double, kind: Kind
) -> None:
    asking(road, service)
    service.menu.order(kind)
    notification_id = await road.send("email")
    async with road.worker("email"):
        await road.until(notification_id, "retrying", "email")
        [(event, detail)] = await road.events(notification_id)
        assert (event, detail["error_class"]) == ("retrying", "recipients")
        while not await road.promote():
            pass
        await road.until(notification_id, "delivered", "email")
    assert len(mail.mails) == 1


async def test_what_was_known_serves_while_the_service_is_away(
    road: Road, mail: MailServer, service: Double
) -> None:
    asking(road, service)
    async with road.worker("email", recipient_cache=0):
        await road.until(await road.send("email"), "delivered", "email")
        service.menu.order(Kind.ANSWER, times=None)
        await road.until(await road.send("email"), "delivered", "email")
        await road.until(await road.send("email", user_id="new"), "retrying", "email")
    assert len(mail.mails) == 2


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("SELECT 1 FROM nowhere WHERE $1 = 'x'", "does not exist"),
        ("SELECT 'a' AS user_id, 'b' AS email", "must have one parameter"),
        ("SELECT id AS user_id FROM unnest($1::text[]) AS id", "must give user_id and some of"),
        ("SELEKT", "syntax error"),
        ("SELECT id AS user_id, id AS email FROM unnest($1::int[]) AS id", r"\$1::text\[\]"),
        ("SELECT $1 AS user_id, 'b' AS email", r"\$1::text\[\]"),
    ],
)
async def test_a_query_that_cannot_be_used_stops_the_start(
    admin: Connection, query: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint) as raised:
        await try_query(admin, query)
    assert str(raised.value).startswith(f"OUTBOX_RECIPIENT_QUERY={query!r}")


@pytest.mark.parametrize("kind", ["text", "varchar"])
async def test_ids_are_text(admin: Connection, kind: str) -> None:
    await try_query(admin, f"SELECT id AS user_id, id AS email FROM unnest($1::{kind}[]) AS id")


async def test_a_slow_service_holds_no_connection(road: Road, database: Database, service: Double) -> None:
    """The others of this worker claim and settle meanwhile."""
    settings = asking(road, service).settings
    service.menu.order(Kind.HANG)
    pool = await open_pool(database.app, name="test", size=1)
    recipients = await from_settings(settings, pool)
    try:
        asking_one = asyncio.create_task(recipients.refresh(pool, ["ada"]))

        async def asked() -> bool:
            return service.menu.served == 1

        await eventually(asked, "the service is asked")
        async with pool.acquire(timeout=1) as connection:
            assert await connection.fetchval("SELECT 1") == 1
        assert not asking_one.done()
        service.front.reset_all()
        assert list(await asking_one) == ["ada"]
    finally:
        await recipients.close()
        pool.terminate()


def test_what_breaks_a_rule_is_as_if_it_were_not_there() -> None:
    facts = {"email": "a@b", "phone": "0301", "locale": "de-DE", "time_zone": "Europe/Berlin\x00"}
    found = recipient("ada", facts)
    assert (found.email, found.phone, found.locale, found.time_zone) == ("a@b", None, "de-DE", None)


def test_the_sources_exclude_each_other(settings: Settings) -> None:
    values = settings.model_dump(by_alias=True) | {
        "recipient_query": QUERY,
        "recipient_url": "http://u/{user_id}",
    }
    with pytest.raises(ValueError, match="exclude each other"):
        Settings(**values)


@pytest.mark.parametrize("url", ["http://users/", "ftp://users/{user_id}", "{user_id}"])
def test_a_url_without_a_place_for_the_user(settings: Settings, url: str) -> None:
    with pytest.raises(ValueError, match=r"with \{user_id\} in it"):
        Settings(**settings.model_dump(by_alias=True) | {"recipient_url": url})


async def test_an_odd_answer_does_not_hold_up_the_others(
    road: Road, mail: MailServer, service: Double
) -> None:
    asking(road, service)
    lone, deep, reached = [await road.send("email", user_id=user) for user in ("lone", "deep", "ada")]
    async with road.worker("email"):
        await road.until(reached, "delivered", "email")
        await road.until(lone, "failed", "email")
        await road.until(deep, "retrying", "email")
    assert [message["To"] for message in mail.mails] == ["ada@example.com"]
