"""Each row of docs/channels.md, played."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.workers.conftest import Road
from tests.workers.hooks import ALLOW
from tests.workers.outcomes import hooks, mails, pushes, texts
from tests.workers.outcomes.stage import LEASE_SECONDS, SHORT_LEASE_SECONDS, Far, Stage
from tests.workers.outcomes.table import OUTAGE, rows
from workers.circuit import Circuit, Limits

QUICK = Limits(cool_down=0.05, cool_down_cap=0.1, probe_seconds=0.05)
Make = Callable[[pytest.MonkeyPatch, Path], AbstractAsyncContextManager[Far]]
WORLDS: dict[str, Make] = {
    "smtp": lambda patch, _: mails.smtp(patch),
    "sendgrid": lambda patch, _: mails.sendgrid(patch),
    "twilio": lambda patch, _: texts.twilio(patch),
    "fcm": pushes.fcm,
    "apns": pushes.apns,
    "webhook": lambda patch, _: hooks.webhook(patch),
}


def is_silent(case: str) -> bool:
    return case.startswith("timeout ")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("provider", WORLDS)
async def test_each_case_ends_as_the_table_says(
    provider: str, road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = {row.case: row for row in rows() if row.provider == provider and row.case != OUTAGE}
    seen = {}
    async with WORLDS[provider](monkeypatch, tmp_path) as far:
        play = Stage(road, far)
        for silent, lease in ((False, LEASE_SECONDS), (True, SHORT_LEASE_SECONDS)):
            async with road.worker(far.channel, worker_lease=lease, **ALLOW):
                for name in far.cases:
                    if is_silent(name) is silent:
                        seen[name] = str(await play.play(name))
    # What nothing here brings about is another test's, which the row must name.
    assert seen == {name: str(row.seen) for name, row in table.items() if name in seen or not row.tests}


@pytest.mark.parametrize("provider", WORLDS)
async def test_an_hour_of_outage_ends_as_the_table_says(
    provider: str, road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("workers.common.Circuit", lambda: Circuit(QUICK))
    monkeypatch.setattr("workers.endpoints.LIMITS", QUICK)
    (row,) = [row for row in rows() if (row.provider, row.case) == (provider, OUTAGE)]
    async with (
        WORLDS[provider](monkeypatch, tmp_path) as far,
        road.worker(far.channel, worker_lease=LEASE_SECONDS, **ALLOW),
    ):
        assert str(await Stage(road, far).outage()) == str(row.seen)
