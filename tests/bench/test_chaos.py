"""`make chaos` in small: every kind of fault at least once, on real processes, and the audit holds."""

import json
from pathlib import Path

import pytest

from bench.chaos.driver import KINDS
from tests.bench.runs import ran

# A plan that stays the same; when its faults strike in what the processes do, differs from run to run.
SMALL = "--faults 100 --rows 1500 --minutes 0.6 --seed 7"


@pytest.mark.timeout(600)
async def test_whatever_fails_each_notification_is_there_exactly_once(tmp_path: Path) -> None:
    await ran("bench.chaos", *SMALL.split(), "--out", str(tmp_path))
    found = json.loads((tmp_path / "chaos.json").read_text())
    assert found["faults"] >= 100
    assert found["by_kind"].keys() >= KINDS.keys() - {"disk_full"}, "that one wants a disk of its own"
    assert found["committed"] > 500
    assert [found[key] for key in ("missing", "duplicated", "uncommitted", "out_of_order")] == [0] * 4
    assert (tmp_path / "chaos.svg").read_text().startswith("<svg")
