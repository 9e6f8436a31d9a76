"""What both stacks are tried with: commands with their output, and a folder with the project as a clone has it."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from outbox.settings import PROJECT

SECONDS = 1800  # the image is built the first time


def run(
    *words: str, cwd: Path = PROJECT, env: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """To its end, which a test may judge."""
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert not check or done.returncode == 0, (
        f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    return done


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What is committed and nothing else."""
    folder = tmp_path_factory.mktemp("fresh") / "outbox"
    run("git", "clone", "--quiet", "--no-hardlinks", str(PROJECT), str(folder))
    yield folder
    shutil.rmtree(folder)
