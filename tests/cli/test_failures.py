"""Failures are one readable line and the right exit code; a bug keeps its traceback."""

import socket
from collections.abc import Iterator
from contextlib import closing

import asyncpg
import pytest

from outbox.cli.failures import FAILED, WRONG, first_of, tell
from outbox.errors import OutboxError, SettingsError
from outbox.local.errors import EmbeddedError
from outbox.settings import Settings
from tests.cli.conftest import Command
from tests.conftest import Database


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that is taken, but where nobody listens."""
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


async def test_missing_settings_are_named(outbox: Command) -> None:
    result = await outbox("status")
    assert result.exit_code == WRONG
    assert "DATABASE_URL is not set" in result.stderr
    assert "REDIS_URL is not set" in result.stderr
    assert "outbox up" in result.stderr
    assert "Traceback" not in result.output


async def test_a_wrong_setting_is_named_with_its_value(
    outbox: Command, configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOX_API_PORT", "eighty")
    result = await outbox("token", "--user", "alice")
    assert result.exit_code == WRONG
    assert "OUTBOX_API_PORT='eighty'" in result.stderr


@pytest.mark.parametrize("command", ["status", "dlq list", "dlq redrive --all"])
async def test_postgres_away_says_where_and_what_to_do(
    outbox: Command, configured: Settings, monkeypatch: pytest.MonkeyPatch, silent_port: int, command: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://someone:topsecret@127.0.0.1:{silent_port}/shop")
    result = await outbox(*command.split())
    assert result.exit_code == FAILED
    assert f"127.0.0.1:{silent_port}/shop cannot be used: connection refused" in result.stderr
    assert "outbox up" in result.stderr
    assert "topsecret" not in result.output
    assert len(result.stderr.splitlines()) == 1


async def test_a_wrong_password_is_told(
    outbox: Command, configured: Settings, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setenv("DATABASE_URL", database.app.replace("test-only", "wrong"))
    result = await outbox("status")
    assert result.exit_code == FAILED
    assert "password authentication failed" in result.stderr


async def test_redis_away_says_where(
    outbox: Command, configured: Settings, monkeypatch: pytest.MonkeyPatch, silent_port: int
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:topsecret@127.0.0.1:{silent_port}/0")
    result = await outbox("status")
    assert result.exit_code == FAILED
    assert f"Redis at 127.0.0.1:{silent_port}/0 cannot be used: connection refused" in result.stderr
    assert "topsecret" not in result.output


async def test_the_api_away_says_where_and_what_to_do(
    outbox: Command, configured: Settings, monkeypatch: pytest.MonkeyPatch, silent_port: int
) -> None:
    monkeypatch.setenv("OUTBOX_API_PORT", str(silent_port))
    result = await outbox("send", "--user", "alice", "--title", "Hello")
    assert result.exit_code == FAILED
    assert f"http://127.0.0.1:{silent_port}" in result.stderr
    assert "connection refused" in result.stderr
    assert "outbox up" in result.stderr


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (SettingsError("X is not set"), "X is not set", WRONG),
        (OutboxError("no"), "no", FAILED),
        (EmbeddedError("no PostgreSQL"), "no PostgreSQL", FAILED),
        (ConnectionResetError("gone"), "gone", FAILED),
        (KeyboardInterrupt(), "", 130),
    ],
)
def test_what_is_foreseen_is_told(error: BaseException, text: str, code: int) -> None:
    assert tell(error) == (text, code)


def test_what_postgres_quotes_of_a_row_is_not_told() -> None:
    fields = {"C": "23514", "S": "ERROR", "M": "violates a check", "D": "Failing row contains (alice)."}
    assert tell(asyncpg.PostgresError.new(fields)) == ("PostgreSQL: violates a check", FAILED)


def test_a_bug_is_not_told_away() -> None:
    assert tell(ZeroDivisionError()) is None


def test_the_first_failure_of_nested_task_groups_is_told() -> None:
    cause = OutboxError("the cause")
    assert first_of(ExceptionGroup("outer", [ExceptionGroup("inner", [cause])])) is cause


async def test_a_worker_is_told_its_channels_or_those_left_out(outbox: Command, configured: Settings) -> None:
    result = await outbox("worker", "sms", "--except", "email")
    assert result.exit_code == WRONG
    assert "--except email leaves one out of all, but sms is named" in result.stderr
