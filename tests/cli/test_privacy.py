"""`outbox user`: a person's export, and an erasure from beginning to end."""

import json
from pathlib import Path

import pytest

from db.pool import Connection
from outbox.audit import pseudonym
from outbox.settings import Settings
from tests.cli.conftest import Command

INSERT = (
    "INSERT INTO notify.outbox (event_type, user_id, payload) VALUES ('a', 'alice', '{\"title\": \"Hello\"}')"
)


async def test_an_export_is_a_document_and_is_in_the_audit_log(
    outbox: Command, configured: Settings, producer: Connection, admin: Connection
) -> None:
    await producer.execute(INSERT)
    document = json.loads((await outbox("user", "export", "alice")).stdout)
    assert [each["payload"] for each in document["notifications"]] == [{"title": "Hello"}]
    found = await admin.fetchrow("SELECT via, action, target FROM notify.audit_log")
    assert tuple(found or ()) == ("command", "user.export", pseudonym(configured, "alice"))


async def test_an_export_s_file_is_private(
    outbox: Command, configured: Settings, producer: Connection, tmp_path: Path
) -> None:
    await producer.execute(INSERT)
    file = tmp_path / "alice.json"
    result = await outbox("user", "export", "alice", "-o", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(file.read_text(encoding="utf-8"))["user_id"] == "alice"
    assert file.stat().st_mode & 0o777 == 0o600


async def test_an_erasure_is_carried_out_and_counted(
    outbox: Command,
    configured: Settings,
    producer: Connection,
    admin: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OUTBOX_WORKER_LEASE", "0.1")
    monkeypatch.setenv("OUTBOX_RELAY_LEASE", "0.1")
    await producer.execute(INSERT)
    result = await outbox("user", "erase", "alice", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-3:] == ["        1 notifications", "        1 outbox", "done"]
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 0
    assert await admin.fetchval("SELECT via FROM notify.audit_log") == "command"


async def test_nothing_is_erased_without_a_yes(
    outbox: Command, configured: Settings, admin: Connection
) -> None:
    assert (await outbox("user", "erase", "alice")).exit_code == 1
    assert await admin.fetchval("SELECT count(*) FROM notify.erasures") == 0


async def test_what_is_no_id_is_refused(outbox: Command, configured: Settings) -> None:
    result = await outbox("user", "export", "a\nb")
    assert result.exit_code != 0
    assert "must be 1 to 200 printable characters" in result.output
