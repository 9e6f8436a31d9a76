"""Where `make promtool` has put Prometheus, and what its query language calls a metric."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
BIN = ROOT / ".tools" / "prometheus" / "usr" / "bin"

STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
SELECTORS = re.compile(r"\{[^}]*\}|\[[^\]]*\]")
LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
NAMES = re.compile(r"(?<![\w:.$])([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?!\s*\()(?![\w:(])")
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "by", "on"}


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


def metrics_in(query: str) -> set[str]:
    """The names of metrics that a query asks for."""
    bare = LABELS.sub("", SELECTORS.sub("", STRINGS.sub("", query)))
    bare = re.sub(r"offset\s+\w+", "", bare)
    return {name for name in NAMES.findall(bare) if name.lower() not in WORDS}
