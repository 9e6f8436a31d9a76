"""`outbox token`: what it prints is what the services accept."""

from datetime import UTC, datetime, timedelta

import pytest

from outbox.settings import Settings
from outbox.verifier import Verifier
from tests.cli.conftest import Command


@pytest.mark.parametrize("scope", ["user", "producer"])
async def test_a_token_holds(outbox: Command, configured: Settings, scope: str) -> None:
    result = await outbox("token", "--user", "alice", "--scope", scope, "--days", "2")
    assert result.exit_code == 0
    identity = await Verifier(configured).verify(result.stdout.strip())
    assert (identity.subject, identity.scopes) == ("alice", frozenset({scope}))
    left = identity.expires_at - datetime.now(UTC)
    assert timedelta(days=2) - timedelta(minutes=1) < left <= timedelta(days=2)


async def test_an_unknown_scope_is_refused(outbox: Command, configured: Settings) -> None:
    result = await outbox("token", "--user", "alice", "--scope", "root")
    assert result.exit_code == 2
    assert "admin" in result.stderr


async def test_where_tokens_come_from_somebody_else_it_says_so(
    outbox: Command, configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOX_JWT_JWKS_URL", "https://id.example.com/jwks.json")
    result = await outbox("token", "--user", "alice")
    assert result.exit_code != 0
    assert "OUTBOX_JWT_ALGORITHMS" in result.stderr
