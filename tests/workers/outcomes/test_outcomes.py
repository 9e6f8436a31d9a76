"""Each row of docs/channels.md, played."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.workers.conftest import Road
from tests.workers.hooks import ALLOW
from tests.workers.outcomes import hooks, mails, pushes, texts
from tests.workers.outcomes.stage import LEASE_SECONDS, Far, Stage
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


@asynccontextmanager
async def stage(provider: str, road: Road, patch: pytest.MonkeyPatch, folder: Path) -> AsyncIterator[Stage]:
    async with (
        WORLDS[provider](patch, folder) as far,
        road.worker(far.channel, worker_lease=LEASE_SECONDS, **ALLOW),
    ):
        yield Stage(road, far)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", WORLDS)
async def test_each_case_ends_as_the_table_says(
    provider: str, road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = {row.case: row for row in rows() if row.provider == provider and row.case != OUTAGE}
    async with stage(provider, road, monkeypatch, tmp_path) as play:
        seen = {name: str(await play.play(name)) for name in play.far.cases}
    # What nothing here brings about is another test's, which the row must name.
    assert seen == {name: str(row.seen) for name, row in table.items() if name in seen or not row.tests}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("provider", WORLDS)
async def test_an_hour_of_outage_ends_as_the_table_says(
    provider: str, road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("workers.common.Circuit", lambda: Circuit(QUICK))
    monkeypatch.setattr("workers.endpoints.LIMITS", QUICK)
    (row,) = [row for row in rows() if (row.provider, row.case) == (provider, OUTAGE)]
    async with stage(provider, road, monkeypatch, tmp_path) as play:
        assert str(await play.outage()) == str(row.seen)
