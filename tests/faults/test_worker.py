"""P5 with kill -9 at every step of a worker: everyone is told, nobody twice but where nobody can know."""

import asyncio
import signal

import pytest

from outbox.settings import Settings
from tests.faults.conftest import process
from tests.workers.conftest import Road, mail, road
from tests.workers.mail import MailServer

__all__ = ["mail", "road"]  # fixtures of the workers' tests, used here

ROWS = 12


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """What a dead worker held is taken over when its lease has run out."""
    return settings.model_copy(update={"worker_lease": 3})


@pytest.mark.parametrize(
    ("point", "when"),
    [
        ("db.delivery:claim", "after"),
        ("db.delivery:settle_in_inbox", "after"),  # committed, and nobody has heard of it
        ("workers.settler:Settler.commit", "after"),  # committed, neither published nor acknowledged
        ("workers.settler:Settler.acknowledge", "after"),
    ],
)
async def test_p5_a_worker_killed_at_a_named_point_leaves_each_in_the_inbox_once(
    road: Road, settings: Settings, point: str, when: str
) -> None:
    ids = [await road.send(payload={"n": n}) for n in range(ROWS)]
    async with process("tests.faults.victim", "inapp", point, when, "1", settings=settings) as victim:
        async with asyncio.timeout(90):
            await victim.wait()
        assert victim.returncode == -signal.SIGKILL
    async with road.worker("inapp"):
        for each in ids:
            await road.until(each, "delivered")
        await road.until_empty()
    placed = await road.admin.fetch("SELECT notification_id, seq FROM notify.inbox ORDER BY seq")
    assert sorted(record["notification_id"] for record in placed) == sorted(ids)
    assert [record["seq"] for record in placed] == list(range(1, ROWS + 1)), "dense"
    counters = await road.admin.fetchrow("SELECT last_seq, unread FROM notify.inbox_counters")
    assert tuple(counters or ()) == (ROWS, ROWS)


@pytest.mark.parametrize(
    ("point", "when", "again"),
    [
        ("db.delivery:claim", "after", False),  # nothing was sent yet
        ("workers.smtp:Mailer.send", "before", False),
        ("workers.smtp:Mailer.send", "after", True),  # sent, and nobody could write it down
        ("workers.settler:Settler.commit", "after", False),  # written down: never again
    ],
)
async def test_p5_a_worker_killed_at_a_named_point_sends_again_only_what_may_be_lost(
    road: Road, settings: Settings, mail: MailServer, point: str, when: str, again: bool
) -> None:
    await road.recipient()
    sent = await road.send("email")
    more = {"SMTP_URL": f"smtp://127.0.0.1:{mail.port}?tls=none"}
    async with process("tests.faults.victim", "email", point, when, "1", settings=settings, **more) as victim:
        async with asyncio.timeout(90):
            await victim.wait()
        assert victim.returncode == -signal.SIGKILL
    async with road.worker("email"):
        await road.until(sent, "delivered", "email")
        await road.until_empty("email")
    assert len(mail.message_ids) == 1 + again
    assert set(mail.message_ids) == {f"<{sent}.email@localhost>"}, "under one Message-ID"
    events = [event for event, _ in await road.events(sent)]
    assert ("taken_over" in events) == (point != "workers.settler:Settler.commit"), "the timeline says so"
