"""Runs `outbox` commands in this process, with the settings of the test in the environment."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from outbox.cli import app
from outbox.settings import Settings
from tests.conftest import SECRET

Command = Callable[..., Awaitable[Result]]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but the test's own, and a wide terminal without colours."""
    for name in ("DATABASE_URL", "REDIS_URL", "OUTBOX_JWT_SECRET", "OUTBOX_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OUTBOX_STATE", str(tmp_path))
    monkeypatch.setenv("OUTBOX_START_PATIENCE", "0")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture
def outbox() -> Command:
    """`await outbox("token", "--user", "alice")`, in a thread, as commands have an event loop of their own."""

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(words))

    return run


@pytest.fixture
def configured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The test's settings, where commands look for them."""
    monkeypatch.setenv("DATABASE_URL", settings.database)
    monkeypatch.setenv("REDIS_URL", settings.redis)
    monkeypatch.setenv("OUTBOX_REDIS_PREFIX", settings.redis_prefix)
    monkeypatch.setenv("OUTBOX_JWT_SECRET", SECRET)
    return settings
