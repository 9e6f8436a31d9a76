"""The e-mail channel between claim and attempt: templates that change in that very moment."""

import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from db import delivery
from db.delivery import Claimant
from outbox.settings import Settings
from tests.workers.conftest import Road
from tests.workers.mail import MailServer
from workers.email import Email, Outside
from workers.entries import Entry, decode
from workers.job import Job
from workers.outcome import Delivered, Transient
from workers.reader import Reader, Source


@pytest.fixture
async def channel(settings: Settings) -> AsyncIterator[Email]:
    made = Email(4, 60, Outside.of(settings))
    yield made
    await made.close()


async def claimed(road: Road) -> Job:
    await road.recipient()
    notification_id = await road.send("email")
    reader = Reader(road.nodes, Source(road.settings.keys.stream("email"), "me", lease_seconds=60))
    await reader.make_group()
    (raw,) = await reader.read(1)
    entry = decode(raw)
    assert isinstance(entry, Entry)
    who = Claimant("email", "me", uuid4(), 60, contacts=True)
    (claim,) = await delivery.claim(road.admin, who, [notification_id], [0])
    return Job(entry, claim, who.token, time.monotonic() + 60)


async def test_a_template_edited_after_the_claim_is_used_as_it_is_now(
    road: Road, mail: MailServer, channel: Email
) -> None:
    job = await claimed(road)
    await road.admin.execute("UPDATE notify.templates SET subject = 'edited'")
    await channel.prepare(road.admin, [job.claim])
    assert isinstance(await channel.attempt(job), Delivered)
    assert mail.mails[0]["Subject"] == "edited"


async def test_a_template_deleted_after_the_claim_is_chosen_anew(
    road: Road, mail: MailServer, channel: Email
) -> None:
    job = await claimed(road)
    await road.admin.execute("DELETE FROM notify.templates")
    await channel.prepare(road.admin, [job.claim])
    outcome = await channel.attempt(job)
    assert isinstance(outcome, Transient)
    assert outcome.error_class == "template"
