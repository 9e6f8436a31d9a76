"""`make bench SHORT=1`, for one case of each kind: from servers of its own to the table.

The other cases are made of the same parts. All of them take two minutes and a bit: `make bench SHORT=1`.
"""

import json
from pathlib import Path

import pytest

from bench.__main__ import CASES
from tests.bench.runs import ran

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
    shown = await ran("bench", *RATIOS, "--short", "--out", str(out))
    results = json.loads(out.read_text())
    assert list(results) == list(RATIOS)
    assert results.keys() <= set(CASES)
    for name, case in results.items():
        assert case["figure"] > 0
        assert RATIOS[name] <= case["ratios"].keys(), name
        assert case["detail"]["size"] == "short"
        assert name in shown
