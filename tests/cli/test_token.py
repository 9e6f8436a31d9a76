"""`outbox token`: what it prints is what the services accept."""

from datetime import UTC, datetime, timedelta

import pytest

from outbox.settings import Settings
from outbox.tokens import verify
from tests.cli.conftest import Command


@pytest.mark.parametrize("scope", ["user", "producer"])
async def test_a_token_holds(outbox: Command, configured: Settings, scope: str) -> None:
    result = await outbox("token", "--user", "alice", "--scope", scope, "--days", "2")
    assert result.exit_code == 0
    identity = verify(configured, result.stdout.strip())
    assert (identity.subject, identity.scopes) == ("alice", frozenset({scope}))
    left = identity.expires_at - datetime.now(UTC)
    assert timedelta(days=2) - timedelta(minutes=1) < left <= timedelta(days=2)


async def test_an_unknown_scope_is_refused(outbox: Command, configured: Settings) -> None:
    result = await outbox("token", "--user", "alice", "--scope", "root")
    assert result.exit_code == 2
    assert "admin" in result.stderr
