"""A channel whose only provider is away: nothing is lost, no attempt is spent in vain, and it goes on by itself."""

import pytest

from outbox.local.ports import any_free
from tests.workers.conftest import Road, eventually
from tests.workers.mail import mail_server
from workers import common
from workers.circuit import Circuit, Limits

COUNT = 12


async def test_an_outage_spends_no_attempts_and_the_first_probe_ends_it(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = any_free()
    monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{port}")
    monkeypatch.setattr(common, "Circuit", lambda: Circuit(Limits(in_a_row=3, cool_down=0.3)))
    await road.admin.execute("UPDATE notify.channels SET max_attempts = 3 WHERE name = 'email'")
    await road.recipient()
    sent = [await road.send("email") for _ in range(COUNT)]

    async def deferred() -> bool:
        await road.promote()
        query = "SELECT count(DISTINCT notification_id) FROM notify.delivery_events WHERE event = 'deferred'"
        return bool(await road.admin.fetchval(query) == COUNT)

    async def delivered() -> bool:
        await road.promote()
        query = "SELECT count(*) FROM notify.deliveries WHERE status = 'delivered'"
        return bool(await road.admin.fetchval(query) == COUNT)

    async with road.worker("email", worker_concurrency=4):
        await eventually(deferred, "each was deferred")
        async with mail_server(port) as mail:
            await eventually(delivered, "the mail server is found again")
            assert len(mail.mails) == COUNT
    attempts = await road.admin.fetch("SELECT attempts FROM notify.deliveries")
    assert max(row["attempts"] for row in attempts) <= 3
    events = [event for one in sent for event in await road.events(one)]
    waits = [detail for event, detail in events if event == "deferred"]
    assert {detail["error_class"] for detail in waits} <= {"circuit_open", "connection"}
    assert any("smtp: not asked for another" in detail["reason"] for detail in waits)
    assert sum(detail.get("sends", 0) for _, detail in events) == COUNT
