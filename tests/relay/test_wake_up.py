"""Wake-up: with every timer out of the way, only the notification is left to find a commit."""

import asyncio
import random
from time import monotonic

import pytest

from db.pool import Connection
from outbox.service import wait
from outbox.settings import Settings
from relay.wake import Mode, Sleep
from tests.relay.conftest import Reader, relaying
from tests.relay.wakes import watching

LATE_SECONDS = 30.0  # of a minute that the poll takes: what was not found by then, no notification finds
INSERT = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', $1)"


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Nothing but a notification, or the relay's watch while it is awake, comes within a minute."""
    timers = {"relay_poll": 60, "relay_verify": 60, "relay_lease": 180}
    return settings.model_copy(update=timers)


@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read", "serializable"])
async def test_a_commit_at_any_moment_around_falling_asleep_is_found_at_once(
    patient: Settings, producer: Connection, reader: Reader, isolation: str
) -> None:
    stream = patient.keys.stream("inapp")
    async with relaying(patient):
        await producer.execute(INSERT, "first")
        await reader.until_users(["first"])
        for number in range(40):
            await asyncio.sleep(random.uniform(0, 2.2 * patient.relay_linger))  # when, not for what
            began = monotonic()
            async with producer.transaction(isolation=isolation):  # type: ignore[arg-type]  # one of the three
                await producer.execute(INSERT, f"u{number}")
            while await reader.redis.xlen(stream) < number + 2:
                assert monotonic() - began < LATE_SECONDS, (
                    f"commit {number} was not found: only the poll is left"
                )
                await asyncio.sleep(0.001)


LATER = """INSERT INTO notify.outbox (event_type, user_id, deliver_at)
           VALUES ('a', 'later', clock_timestamp() + interval '20 ms')"""
RETRY = """INSERT INTO notify.scheduled (due_at, notification_id, channels, reason)
           SELECT clock_timestamp(), id, '{inapp}', 'retry' FROM notify.notifications LIMIT 1"""


@pytest.mark.parametrize("statement", [LATER, RETRY], ids=["delivery date", "retry"])
async def test_what_is_scheduled_at_any_moment_around_falling_asleep_is_found_when_due(
    patient: Settings, admin: Connection, reader: Reader, statement: str
) -> None:
    stream = patient.keys.stream("inapp")
    async with relaying(patient):
        await admin.execute(INSERT, "first")
        await reader.until_users(["first"])
        for number in range(40):
            await asyncio.sleep(random.uniform(0, 2.2 * patient.relay_linger))  # when, not for what
            await admin.execute(statement)
            began = monotonic()
            while await reader.redis.xlen(stream) < number + 2:
                assert monotonic() - began < LATE_SECONDS, (
                    f"number {number} was not found: only the poll is left"
                )
                await asyncio.sleep(0.001)


async def test_without_the_trigger_nothing_is_found(
    patient: Settings, producer: Connection, admin: Connection, reader: Reader
) -> None:
    """The tests above can fail: this is how."""
    async with watching(patient, Sleep(patient.relay_linger, patient.relay_poll)) as relay:
        await producer.execute(INSERT, "first")
        await reader.until_users(["first"])
        assert await wait(relay.modes[Mode.ASLEEP], 60)
        await admin.execute("ALTER TABLE notify.outbox DISABLE TRIGGER outbox_wake")
        relay.ticked.clear()
        await producer.execute(INSERT, "unheard")
        assert not await wait(relay.ticked, 1)
        await admin.execute("ALTER TABLE notify.outbox ENABLE TRIGGER outbox_wake")
        await producer.execute(INSERT, "heard")
        await reader.until_users(["first", "unheard", "heard"], seconds=LATE_SECONDS)
