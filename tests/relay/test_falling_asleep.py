"""No commit waits for the poll, whenever it comes: 10,000 of them around the relay's falling asleep.

WAKE_COMMITS=100000 tries longer. Either mutant is found within some hundred.
"""

import os
from time import monotonic

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from db import relay as sql
from db.pool import Connection
from outbox.settings import Settings
from relay.snapshot import Xid
from relay.wake import Mode, Sleep
from tests.relay.wakes import SOON_SECONDS, Trial, trial

COMMITS = int(os.environ.get("WAKE_COMMITS", "10000"))
PRODUCERS = 6  # at each of three isolation levels
LINGER_SECONDS, POLL_SECONDS = 0.005, 60.0
MUTANT_SECONDS = 60


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Nothing but a wake-up comes within a minute."""
    return settings.model_copy(update={"relay_lease": 3 * POLL_SECONDS})


def polls() -> float:
    return REGISTRY.get_sample_value("outbox_relay_wake_ups_total", {"cause": "poll"}) or 0


@pytest.mark.timeout(max(600, COMMITS // 50))  # half a minute on two idle cores
async def test_no_commit_around_falling_asleep_is_left_to_the_poll(
    patient: Settings, admin: Connection, redis: Redis
) -> None:
    before = polls()
    async with trial(patient, admin, Sleep(LINGER_SECONDS, POLL_SECONDS), PRODUCERS) as honest:
        while honest.committed < COMMITS:
            assert await honest.volley() == []
        await honest.until_shipped()
    assert polls() == before
    assert honest.watched.times[Mode.FALLING] >= COMMITS / 20, (
        "the relay hardly went to sleep: little was tried"
    )


async def first_offence(mutant: Trial) -> str:
    deadline = monotonic() + MUTANT_SECONDS
    while monotonic() < deadline:
        if offences := await mutant.volley():
            return offences[0]
    raise AssertionError(f"none of {mutant.committed} commits was missed")


class Hasty(Sleep):
    """Relies on notifications at once, without another look for those who tested the flag before it was set."""

    def fell(self, at: Xid) -> None:
        super().fell(at)
        self.mode = Mode.ASLEEP


async def test_a_relay_that_does_not_watch_while_it_falls_asleep_is_found_out(
    patient: Settings, admin: Connection, redis: Redis
) -> None:
    async with trial(patient, admin, Hasty(LINGER_SECONDS, POLL_SECONDS), PRODUCERS, SOON_SECONDS) as mutant:
        assert await first_offence(mutant)


FLAG_IN_A_TABLE = """
CREATE TABLE notify.relay_flag_row (value bigint);
INSERT INTO notify.relay_flag_row VALUES (1);
GRANT SELECT, UPDATE ON notify.relay_flag_row TO outbox_app;
CREATE FUNCTION notify.flag_in_the_row() RETURNS bigint STABLE RETURN (SELECT value FROM notify.relay_flag_row);
GRANT EXECUTE ON FUNCTION notify.flag_in_the_row() TO outbox_app;
DROP TRIGGER outbox_wake ON notify.outbox;
CREATE TRIGGER outbox_wake AFTER INSERT ON notify.outbox FOR EACH STATEMENT
  WHEN (notify.flag_in_the_row() IS DISTINCT FROM 2) EXECUTE FUNCTION notify.wake_relay();
"""


async def test_a_flag_that_is_read_through_mvcc_is_found_out(
    patient: Settings, admin: Connection, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin.execute(FLAG_IN_A_TABLE)
    monkeypatch.setitem(sql.SQL, "set_flag", "UPDATE notify.relay_flag_row SET value = $1")
    sleep = Sleep(LINGER_SECONDS, POLL_SECONDS)
    async with trial(patient, admin, sleep, PRODUCERS, SOON_SECONDS) as mutant:
        assert await first_offence(mutant)
