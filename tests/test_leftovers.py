"""One test that fails does not make others fail."""

import subprocess
import sys
from pathlib import Path

import pytest

from outbox.settings import PROJECT

SETTINGS = """[pytest]
filterwarnings = error
asyncio_default_fixture_loop_scope = function
"""
TESTS = """
import gc, socket

class Holder: ...

def test_that_fails():
    holder = Holder()
    holder.itself, holder.open = holder, socket.create_server(("127.0.0.1", 0))
    raise ValueError

def test_that_is_innocent():
    gc.collect()
"""


@pytest.mark.parametrize(
    ("plugin", "outcome"), [("tests.leftovers", "1 failed, 1 passed"), ("no:cacheprovider", "2 failed")]
)
def test_what_was_left_open_is_nobody_else_s(tmp_path: Path, plugin: str, outcome: str) -> None:
    """The second case shows that the first could fail."""
    (tmp_path / "test_two.py").write_text(TESTS)
    settings = tmp_path / "pytest.ini"
    settings.write_text(SETTINGS)
    words = f"-q -p {plugin} -p no:cacheprovider -p no:valkey -c {settings} {tmp_path}".split()
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert outcome in ran.stdout, ran.stdout + ran.stderr
