"""Every command teaches: what it does, in a sentence, and examples. And `--help` is quick."""

import subprocess
import sys

import pytest

from tests.cli.conftest import Command

COMMANDS = [
    *("up", "down", "logs", "reset", "send", "status", "token"),
    *("migrate", "api", "relay", "worker", "gateway", "mailsink", "doubles"),
    *("dlq list", "dlq redrive", "user export", "user erase"),
    *("key create", "key list", "key revoke"),
    *("doctor", "selftest", "relay rebase"),
]
# What a help text must not wait for.
HEAVY = ("alembic", "asyncpg", "httpx", "jwt", "redis", "sqlalchemy", "starlette", "uvicorn")


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_explains_itself_with_examples(outbox: Command, command: str) -> None:
    result = await outbox(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Examples" in result.output
    assert f"outbox {command}" in result.output.partition("Examples")[2]


async def test_the_first_page_names_every_command_and_where_to_start(outbox: Command) -> None:
    result = await outbox("--help")
    for command in COMMANDS:
        assert command.split()[0] in result.output or command in {"mailsink", "doubles"}
    assert "Start here" in result.output
    assert "--parent-pipe" not in result.output


async def test_without_a_word_it_shows_the_first_page(outbox: Command) -> None:
    assert "Start here" in (await outbox()).output


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, outbox.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert shown.stdout.strip() == "[]"
