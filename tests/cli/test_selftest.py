"""`outbox selftest`: through the real road, judged, and erased."""

import json
from typing import Any
from uuid import uuid4

from db.pool import Connection
from db.selftest import Way
from outbox.cli.failures import WRONG
from outbox.cli.selftest_outcome import Hop, Trial, judged
from outbox.settings import Settings
from tests.cli.conftest import Command
from tests.moving.conftest import running

TEST = Trial(count=2, rate=100, budget=1, timeout=5)


def way(seconds: float, status: str | None = "delivered") -> Way:
    done = status is not None
    return Way(
        uuid4(), "normal", 0.0, seconds / 4, seconds / 2 if done else None, seconds if done else None, status
    )


async def test_all_arrive_on_every_lane_and_nothing_of_it_stays(
    configured: Settings, outbox: Command, admin: Connection, redis: Any
) -> None:
    async with running(configured):
        result = await outbox(
            "selftest", "-n", "6", "--rate", "100", "--budget", "30", "--timeout", "60", "--json"
        )
    told = json.loads(result.stdout.splitlines()[-1])
    assert (told["sent"], told["delivered"], told["troubles"], result.exit_code) == (6, 6, [], 0)
    assert "the whole road" in told["hops"]
    lanes = await admin.fetch("SELECT priority, count(*) FROM notify.notifications GROUP BY 1")
    assert {tuple(row) for row in lanes} == {("urgent", 2), ("normal", 2), ("bulk", 2)}
    [erasure] = await admin.fetch("SELECT user_id FROM notify.erasures WHERE finished_at IS NULL")
    assert erasure["user_id"].startswith("outbox-selftest-")


async def test_without_a_relay_they_are_lost_and_erased_all_the_same(
    configured: Settings, outbox: Command, admin: Connection, redis: Any
) -> None:
    result = await outbox("selftest", "-n", "2", "--rate", "100", "--timeout", "1")
    assert result.exit_code == 1
    assert "2 of 2 were not delivered: in no tick (no relay leads?)" in result.stdout
    assert await admin.fetchval("SELECT count(*) FROM notify.erasures") == 1


def test_one_that_is_slower_than_the_budget() -> None:
    outcome = judged(TEST, [way(0.1), way(3)])
    assert outcome.troubles == ["p99 is 3.000 s, over the budget of 1 s"]


def test_one_that_nobody_claims() -> None:
    outcome = judged(TEST, [way(0.1), way(0.1, None)])
    assert outcome.troubles == ["1 of 2 were not delivered: in its stream, unclaimed (no worker?)"]


def test_percentiles_are_values_that_were_measured() -> None:
    hop = Hop("", [0.3, 0.1, 0.2])
    assert (hop.at(0.5), hop.at(0.99)) == (0.2, 0.3)


async def test_an_address_that_is_none_is_named(outbox: Command, configured: Settings) -> None:
    result = await outbox("selftest", "--to", "alice")
    assert result.exit_code == WRONG
    assert "'alice' is no address" in result.stderr
