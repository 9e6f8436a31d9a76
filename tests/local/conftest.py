"""Where embedded servers are tried: a directory open to every user, and servers only to be looked at."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbox.local.servers import Embedded


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can pass through: pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="outbox-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def servers() -> Iterator[Embedded]:
    """Throwaway servers for the tests that only look at them."""
    path = Path(tempfile.mkdtemp(prefix="outbox-test-"))
    path.chmod(0o711)
    with Embedded(path / "state", throwaway=True) as embedded:
        yield embedded
    shutil.rmtree(path)
