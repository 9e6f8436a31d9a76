"""`make bench SHORT=1`, for one case of each kind: from servers of its own to the table.

The other cases are made of the same parts. All of them take two minutes and a bit: `make bench SHORT=1`.
"""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from bench.__main__ import CASES

ROOT = Path(__file__).parent.parent.parent
RATIOS = {
    "drain": {"textbook", "xadd", "xadd_raw", "read"},
    "latency": {"textbook"},
    "road": {"commit"},
    "post": set(),
    "sockets": set(),
}


@pytest.mark.timeout(900)
async def test_a_short_run_measures_a_case_of_each_kind_and_shows_one_table(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", *RATIOS, "--short", "--out", str(out), cwd=ROOT,
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
    assert list(results) == list(RATIOS)
    assert results.keys() <= set(CASES)
    for name, case in results.items():
        assert case["figure"] > 0
        assert RATIOS[name] <= case["ratios"].keys(), name
        assert case["detail"]["size"] == "short"
        assert name in shown.decode()
