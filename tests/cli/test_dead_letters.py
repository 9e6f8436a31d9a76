"""`outbox dlq`: what lies there, and what a redrive does to it."""

import pytest

from db.pool import Connection
from outbox.settings import Settings
from tests.cli.conftest import Command

FAIL = """
WITH made AS (
  INSERT INTO notify.notifications (event_type, user_id, channels, payload, priority, created_at)
  VALUES ('e', 'alice', '{email}', '{}', 'normal', now()) RETURNING id
), delivered AS (
  INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed)
  SELECT id, 'email', 'failed', 8, 8 FROM made
)
INSERT INTO notify.notifications_failed (notification_id, channel, error_class, reason, attempts)
SELECT id, 'email', 'permanent', '550 [no such user]', 8 FROM made RETURNING id::text
"""


async def test_none(outbox: Command, configured: Settings) -> None:
    assert (await outbox("dlq", "list")).output == "There are no dead letters.\n"


async def test_listed_with_the_reason_as_it_is(
    outbox: Command, configured: Settings, admin: Connection
) -> None:
    letter = await admin.fetchval(FAIL)
    result = await outbox("dlq", "list", "--channel", "email")
    assert result.exit_code == 0
    for expected in (letter, "permanent", "550 [no such user]", "1 in all (email permanent: 1)"):
        assert expected in result.output
    assert "no dead letters" in (await outbox("dlq", "list", "--channel", "sms")).output


async def test_a_dry_run_changes_nothing(outbox: Command, configured: Settings, admin: Connection) -> None:
    await admin.execute(FAIL)
    result = await outbox("dlq", "redrive", "--all", "--dry-run")
    assert "1 would be on their way again." in result.output
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 0


async def test_redriven_by_id_once(outbox: Command, configured: Settings, admin: Connection) -> None:
    letter = await admin.fetchval(FAIL)
    assert "1 are on their way again." in (await outbox("dlq", "redrive", letter)).output
    assert await admin.fetchval("SELECT reason FROM notify.scheduled") == "redrive"
    again = await outbox("dlq", "redrive", letter)
    assert "0 are on their way again." in again.output
    assert "1 left alone" in again.output
    acts = await admin.fetch("SELECT via, action, detail->>'answers' FROM notify.audit_log ORDER BY id")
    assert [tuple(act) for act in acts] == [
        ("command", "dead_letters.redrive", '{"redriven": 1}'),
        ("command", "dead_letters.redrive", '{"before": 1}'),
    ]


async def test_the_limit_is_told(outbox: Command, configured: Settings, admin: Connection) -> None:
    for _ in range(2):
        await admin.execute(FAIL)
    result = await outbox("dlq", "redrive", "--channel", "email", "--limit", "1")
    assert "there may be more" in result.output
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 1


@pytest.mark.parametrize("words", [(), ("01a2037c-764b-76e8-a64c-ef8d6967e85a", "--all")])
async def test_a_redrive_must_say_which(
    outbox: Command, configured: Settings, words: tuple[str, ...]
) -> None:
    result = await outbox("dlq", "redrive", *words)
    assert result.exit_code == 2
    assert "say which" in result.stderr
