"""`python -m bench.footprint` still runs, from servers of its own to the table.

Most of a minute, for a figure that is taken once a release: run pytest tests/bench/real_footprint.py.
"""

import asyncio
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(600)
async def test_a_short_run_weighs_everything(tmp_path: Path) -> None:
    out = tmp_path / "footprint.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.footprint", "--rows", "300", "--out", str(out), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        shown, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    found = json.loads(out.read_text())
    assert found["at_rest_mb"].keys() == {"api", "relay", "worker", "gateway"}
    assert found["under_load"].keys() == {"relay", "worker inapp", "worker email"}
    assert all(each["cpu_us_a_row"] > 0 for each in found["under_load"].values())
    assert found["redis"]["bytes_an_entry"] > 100
    assert found["bytes"]["accepted"].keys() >= {"WAL", "notifications", "outbox"}
    assert found["bytes"]["in-app"].keys() >= {"WAL", "deliveries", "inbox"}
    assert found["bytes"]["e-mail"].keys() >= {"WAL", "deliveries", "delivery_events"}
    assert "deliveries" in shown.decode()
