"""Where `make promtool` has put Prometheus."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
BIN = ROOT / ".tools" / "prometheus" / "usr" / "bin"


def tool(name: str) -> str:
    """`prometheus` or `promtool`."""
    found = BIN / name
    path = str(found) if found.exists() else shutil.which(name)
    assert path, f"no {name} here: make promtool"
    return path


def promtool(*words: str) -> str:
    """What it says; the test fails with that where it is not content."""
    run = subprocess.run(
        [tool("promtool"), *words], capture_output=True, text=True, cwd=PROMETHEUS, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
