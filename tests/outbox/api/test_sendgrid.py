"""POST /v1/callbacks/sendgrid: genuine events reach timelines and the suppression list, once."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from db.pool import Connection, Pool
from outbox.api.app import create_app
from outbox.local.doubles.sendgrid_events import Signer
from outbox.probes import Health
from outbox.settings import Settings
from tests.outbox.api.answers import problem
from tests.outbox.api.mails import handed_over, suppressed, timeline

PATH = "/v1/callbacks/sendgrid"
SIGNER = Signer()


@pytest.fixture
async def outside(settings: Settings, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a token."""
    keyed = settings.model_copy(update={"sendgrid_webhook_keys": [SIGNER.verification_key]})
    transport = httpx.ASGITransport(create_app(keyed, pool, Health()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


async def post(client: httpx.AsyncClient, *events: dict[str, Any], signer: Signer = SIGNER) -> httpx.Response:
    headers, body = signer.request(events)
    return await client.post(PATH, content=body, headers=headers)


def event(notification_id: UUID, event_id: str = "e1", **changes: Any) -> dict[str, Any]:
    return {
        "event": "bounce",
        "type": "bounce",
        "status": "5.1.1",
        "email": "Ada@Example.com",
        "sg_event_id": event_id,
        "notification_id": str(notification_id),
        "channel": "email",
    } | changes


async def test_a_hard_bounce_is_told_and_suppresses_once(
    outside: httpx.AsyncClient, admin: Connection
) -> None:
    mail = await handed_over(admin)
    for _ in range(3):
        assert (await post(outside, event(mail), event(mail))).status_code == 204
    assert await timeline(admin, mail) == [
        ("bounced", {"provider": "sendgrid", "type": "bounce", "status": "5.1.1"})
    ]
    assert await suppressed(admin) == {"ada@example.com": "hard bounce"}


async def test_what_a_person_took_off_the_list_stays_off_it(
    outside: httpx.AsyncClient, admin: Connection
) -> None:
    mail = await handed_over(admin)
    await post(outside, event(mail))
    await admin.execute("DELETE FROM notify.suppressions")
    await post(outside, event(mail))
    assert await suppressed(admin) == {}


async def test_soft_ones_are_only_told(outside: httpx.AsyncClient, admin: Connection) -> None:
    mail = await handed_over(admin)
    await post(
        outside,
        event(mail, "e1", event="deferred", attempt="2"),
        event(mail, "e2", type="blocked", status="5.7.1"),
        event(mail, "e3", event="delivered"),
    )
    assert sorted(name for name, _ in await timeline(admin, mail)) == ["arrived", "bounced", "delayed"]
    assert await suppressed(admin) == {}


async def test_of_mails_that_are_not_ours_nothing_is_kept(
    outside: httpx.AsyncClient, admin: Connection
) -> None:
    assert (await post(outside, event(uuid4()))).status_code == 204
    assert await suppressed(admin) == {}
    assert await admin.fetchval("SELECT count(*) FROM notify.provider_events") == 0


async def test_erasing_the_notification_erases_what_was_said_of_it(
    outside: httpx.AsyncClient, admin: Connection
) -> None:
    mail = await handed_over(admin)
    await post(outside, event(mail))
    await admin.execute("DELETE FROM notify.notifications WHERE id = $1", mail)
    assert await admin.fetchval("SELECT count(*) FROM notify.provider_events") == 0


async def test_a_stranger_is_refused_without_a_reason(outside: httpx.AsyncClient, admin: Connection) -> None:
    mail = await handed_over(admin)
    refused = await post(outside, event(mail), signer=Signer())
    problem(refused, 403, "forbidden")
    unsigned = await outside.post(PATH, json=[event(mail)])
    assert unsigned.json() == refused.json()
    assert await suppressed(admin) == {}


async def test_signed_nonsense_and_too_much(outside: httpx.AsyncClient) -> None:
    headers, _ = SIGNER.request([])
    problem(await outside.post(PATH, content=b"x" * (4 * 1024 * 1024 + 1), headers=headers), 413, "too-large")
    key = SIGNER.key
    assert key.key_size == 256
    headers, body = SIGNER.request([{"event": 5, "x": [1, {"y": None}]}, event(uuid4(), email=["x"])])
    assert (await outside.post(PATH, content=body, headers=headers)).status_code == 204


async def test_without_a_key_there_is_no_such_path(api: httpx.AsyncClient) -> None:
    problem(await post(api), 404, "not-found")
