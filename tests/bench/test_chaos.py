"""`make chaos` in small: every kind of fault at least once, on real processes, and the audit holds."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from bench.chaos.driver import KINDS

ROOT = Path(__file__).parent.parent.parent
# A plan that stays the same; when its faults strike in what the processes do, differs from run to run.
SMALL = "--faults 100 --rows 1500 --minutes 0.6 --seed 7"


@pytest.mark.timeout(600)
async def test_whatever_fails_each_notification_is_there_exactly_once(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.chaos", *SMALL.split(), "--out", str(tmp_path), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, said.decode()
    found = json.loads((tmp_path / "chaos.json").read_text())
    assert found["faults"] >= 100
    assert found["by_kind"].keys() >= KINDS.keys() - {"disk_full"}, "that one wants a disk of its own"
    assert found["committed"] > 500
    assert [found[key] for key in ("missing", "duplicated", "uncommitted", "out_of_order")] == [0] * 4
    assert (tmp_path / "chaos.svg").read_text().startswith("<svg")
