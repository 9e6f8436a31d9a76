"""`python -m bench.footprint` still runs, from servers of its own to the table.

Most of a minute, for a figure that is taken once a release: run pytest tests/bench/real_footprint.py.
"""

import json
from pathlib import Path

import pytest

from tests.bench.runs import ran


@pytest.mark.timeout(600)
async def test_a_short_run_weighs_everything(tmp_path: Path) -> None:
    out = tmp_path / "footprint.json"
    shown = await ran("bench.footprint", "--rows", "300", "--out", str(out))
    found = json.loads(out.read_text())
    assert found["at_rest_mb"].keys() == {"api", "relay", "worker", "gateway"}
    assert found["under_load"].keys() == {"relay", "worker inapp", "worker email"}
    assert all(each["cpu_us_a_row"] > 0 for each in found["under_load"].values())
    assert found["redis"]["bytes_an_entry"] > 100
    assert found["bytes"]["accepted"].keys() >= {"WAL", "notifications", "outbox"}
    assert found["bytes"]["in-app"].keys() >= {"WAL", "deliveries", "inbox"}
    assert found["bytes"]["e-mail"].keys() >= {"WAL", "deliveries", "delivery_events"}
    assert "deliveries" in shown
