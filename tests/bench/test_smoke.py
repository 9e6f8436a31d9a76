"""`make bench SHORT=1`: every case still runs, from servers of its own to the table."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from bench.__main__ import CASES

ROOT = Path(__file__).parent.parent.parent
RATIOS = {
    "drain": {"textbook", "xadd", "xadd_raw", "read"},
    "drain_held": {"textbook", "drain"},
    "steady": {"textbook", "outbox", "insert"},
    "latency": {"textbook"},
    "tax": {"bare", "bare_draining", "plain_notify", "insert"},
    "road": {"commit"},
    "inapp": {"stream"},
    "sockets": set(),
    "post": set(),
}


@pytest.mark.timeout(900)
async def test_a_short_run_measures_every_case_and_shows_one_table(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", "--short", "--out", str(out), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        shown, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    results = json.loads(out.read_text())
    assert tuple(results) == CASES
    for name, case in results.items():
        assert case["figure"] > 0
        assert RATIOS[name] <= case["ratios"].keys(), name
        assert case["detail"]["size"] == "short"
        assert name in shown.decode()
