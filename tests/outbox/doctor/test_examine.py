"""The doctor on real servers, each set wrong in one way: what it finds, and that its advice names what to change."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from db.pool import Connection
from outbox.doctor.desk import Check
from outbox.doctor.examine import Report, done, examine
from outbox.doctor.finding import Finding, Level
from outbox.settings import Settings
from tests.cli.conftest import Command, bare_environment, configured, outbox
from tests.conftest import Database
from tests.workers.mail import mail_server

__all__ = ["bare_environment", "configured", "outbox"]  # fixtures

DEAD = """
INSERT INTO notify.notifications_failed (channel, error_class, reason, failed_at)
VALUES ('email', 'smtp_5xx', 'no', now() - $1::interval)
"""
OVERDUE = """
INSERT INTO notify.scheduled (due_at, notification_id, channels, reason)
SELECT now() - interval '5 minutes', id, channels, 'retry' FROM notify.notifications
"""
NOTIFY = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('order.paid', 'ada')"
KEY = """
INSERT INTO notify.api_keys (id, name, hash, scopes, created_by, expires_at)
VALUES ('abcdefghijkl', 'shop', sha256('key'), '{producer}', 'ada', now() + interval '2 days')
"""


def of(report: Report, check: str) -> list[Finding]:
    return [finding for part in report.values() for finding in part if finding.check == check]


def worry(report: Report, check: str) -> Finding:
    """The one finding of a check, which is not well."""
    [found] = of(report, check)
    assert found.level in {Level.WARN, Level.FAIL}, found
    return found


async def test_servers_that_keep_nothing_are_told_of(settings: Settings, redis: Any) -> None:
    """As the tests' own are: nothing is synced to disk."""
    report = await examine(settings)
    advice = " ".join(finding.advice for finding in of(report, "postgres.durability"))
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert f"ALTER SYSTEM SET {name} = on" in advice
    assert "appendonly yes" in worry(report, "redis.aof").advice


async def test_what_is_well_is_said_to_be(settings: Settings, redis: Any) -> None:
    report = await examine(settings)
    for check in (
        "reach.postgres",
        "reach.redis",
        "schema.revision",
        "roles",
        "listen",
        "log.ahead",
        "log.history",
    ):
        assert [finding.level for finding in of(report, check)] == [Level.OK], check
    for check in ("clock.postgres", "clock.redis", "templates", "schema.vacuum", "dead_letters"):
        assert [finding.level for finding in of(report, check)] == [Level.OK], check


async def test_nothing_could_not_be_looked_at(settings: Settings, redis: Any) -> None:
    report = await examine(settings)
    assert [each for part in report.values() for each in part if "could not be" in each.what] == []


async def test_servers_that_are_away_are_two_findings_and_not_twenty(settings: Settings) -> None:
    nowhere = {
        "database_url": SecretStr("postgresql://ada:pw@127.0.0.1:1/x"),
        "redis_url": SecretStr("redis://:pw@127.0.0.1:1/0"),
    }
    async with asyncio.timeout(30):  # it does not use up the time that it has
        report = await examine(settings.model_copy(update=nowhere))
    failed = [each for part in report.values() for each in part if each.level is Level.FAIL]
    assert [each.check for each in failed] == ["reach.postgres", "reach.redis"]
    assert ["DATABASE_URL" in failed[0].advice, "REDIS_URL" in failed[1].advice] == [True, True]
    assert "pw" not in json.dumps([each.what for each in failed])


async def test_a_server_that_hangs_takes_no_more_time_than_one_that_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.doctor.examine.REACH_SECONDS", 0.5)

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hanging = {
        "database_url": SecretStr(f"postgresql://ada:pw@127.0.0.1:{port}/x"),
        "redis_url": SecretStr(f"redis://127.0.0.1:{port}/0"),
    }
    async with asyncio.timeout(30):
        report = await examine(settings.model_copy(update=hanging))
    assert {worry(report, "reach.postgres").level, worry(report, "reach.redis").level} == {Level.FAIL}
    for writer in held:
        writer.close()
    server.close()


async def test_a_check_that_fails_is_a_finding() -> None:
    async def breaks(_: object) -> None:
        raise KeyError("a bug")

    [found] = await done(Check("this.one", breaks, lambda _: []), None)  # type: ignore[arg-type]  # not looked at
    assert (found.check, found.level) == ("this.one", Level.FAIL)
    assert "a bug" in found.what


async def test_a_check_that_takes_too_long_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outbox.doctor.examine.CHECK_SECONDS", 0.01)

    async def hangs(_: object) -> None:
        await asyncio.Event().wait()

    [found] = await done(Check("this.one", hangs, lambda _: []), None)  # type: ignore[arg-type]  # not looked at
    assert (found.check, found.level, found.what) == ("this.one", Level.WARN, "no answer within 0.01 s")


async def test_a_login_that_may_too_much(settings: Settings, database: Database, redis: Any) -> None:
    report = await examine(settings.model_copy(update={"database_url": SecretStr(database.admin)}))
    found = worry(report, "roles.powers")
    assert "SUPERUSER" in found.what
    assert "IN ROLE outbox_app" in found.advice
    assert "DATABASE_URL" in found.advice


async def test_a_login_that_may_too_little(settings: Settings, database: Database, redis: Any) -> None:
    report = await examine(settings.model_copy(update={"database_url": SecretStr(database.readonly)}))
    assert "GRANT outbox_app TO outbox_test_readonly" in worry(report, "roles.lacking").advice


async def test_producers_that_may_read(settings: Settings, admin: Connection, redis: Any) -> None:
    await admin.execute("GRANT SELECT ON notify.recipients TO outbox_producer")
    found = worry(await examine(settings), "roles.excess")
    assert found.advice == "REVOKE SELECT ON notify.recipients FROM outbox_producer"


async def test_an_older_schema(settings: Settings, admin: Connection, redis: Any) -> None:
    await admin.execute("UPDATE notify.alembic_version SET version_num = '0003'")
    found = worry(await examine(settings), "schema.revision")
    assert (found.level, found.advice) == (Level.FAIL, "outbox migrate")


async def test_a_newer_schema_is_what_a_roll_out_looks_like(
    settings: Settings, admin: Connection, redis: Any
) -> None:
    await admin.execute("UPDATE notify.alembic_version SET version_num = '9999'")
    assert worry(await examine(settings), "schema.revision").level is Level.WARN


async def test_vacuum_switched_off(settings: Settings, admin: Connection, redis: Any) -> None:
    await admin.execute("ALTER TABLE notify.deliveries SET (autovacuum_enabled = false)")
    assert "ALTER TABLE notify.deliveries RESET" in worry(await examine(settings), "schema.vacuum").advice


async def test_much_that_is_kept_for_good(
    settings: Settings, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    [kept] = of(await examine(settings), "schema.kept")
    assert kept.level is Level.OK
    assert kept.what.endswith("they are kept for good")
    monkeypatch.setattr("outbox.doctor.kept.MUCH", 1)
    [kept] = of(await examine(settings), "schema.kept")
    assert (kept.level, "OUTBOX_NOTIFICATION_RETENTION" in kept.advice) == (Level.NOTE, True)


async def test_old_notifications_that_are_not_found(
    settings: Settings, admin: Connection, redis: Any
) -> None:
    told = settings.model_copy(update={"notification_retention": timedelta(days=90)})
    [kept] = of(await examine(told), "schema.kept")
    assert (kept.level, "for 90 d" in kept.what) == (Level.OK, True)
    await admin.execute("DROP INDEX notify.notifications_created_at")
    assert worry(await examine(told), "schema.kept").advice == "outbox migrate"


async def test_rows_that_no_partition_took(settings: Settings, admin: Connection, redis: Any) -> None:
    await admin.execute("SELECT setval('notify.outbox_id_seq', 5000000)")
    await admin.execute(NOTIFY)
    report = await examine(settings)
    assert "1 rows are in outbox_default" in worry(report, "log.default").what
    assert "outbox relay" in worry(report, "log.ahead").advice


async def test_a_log_of_another_cluster(settings: Settings, admin: Connection, redis: Any) -> None:
    await admin.execute(NOTIFY)
    await admin.execute("UPDATE notify.outbox SET xid = '900000000'")
    assert "outbox relay rebase" in worry(await examine(settings), "log.history").advice


async def test_redis_that_deletes_streams(settings: Settings, redis: Any) -> None:
    before = await redis.config_get("maxmemory-policy")
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = worry(await examine(settings), "redis.eviction")
    finally:
        await redis.config_set("maxmemory-policy", next(iter(before.values())))
    assert "CONFIG SET maxmemory-policy noeviction" in found.advice


async def test_no_relay_no_workers_and_what_comes_of_it(
    settings: Settings, admin: Connection, redis: Any
) -> None:
    await admin.execute(NOTIFY)
    await admin.execute("UPDATE notify.outbox SET created_at = now() - interval '1 minute'")
    await admin.execute(OVERDUE)
    stream = settings.keys.stream("inapp")
    await redis.xadd(stream, {"a": "b"})
    report = await examine(settings)
    assert worry(report, "relay.leader").advice.startswith("outbox relay")
    assert "1 committed rows wait" in worry(report, "relay.lag").what
    assert "1 scheduled deliveries are overdue" in worry(report, "scheduled").what
    inapp, email = worry(report, "workers.inapp"), worry(report, "workers.email")
    assert (inapp.level, email.level) == (Level.FAIL, Level.WARN)
    assert inapp.advice.startswith("outbox worker inapp")


@pytest.mark.parametrize(
    ("age", "level"), [(timedelta(minutes=5), Level.WARN), (timedelta(days=1), Level.NOTE)]
)
async def test_dead_letters(
    settings: Settings, admin: Connection, redis: Any, age: timedelta, level: Level
) -> None:
    await admin.execute(DEAD, age)
    [found] = of(await examine(settings), "dead_letters")
    assert found.level is level
    assert "outbox dlq list --channel email" in found.advice


async def test_a_secret_that_is_not_there(
    settings: Settings, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SMTP_URL", raising=False)
    assert "set SMTP_URL" in worry(await examine(settings), "channels.email").advice
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:1")
    assert of(await examine(settings), "channels.email")[0].level is Level.OK


async def test_a_template_that_does_not_compile(settings: Settings, admin: Connection, redis: Any) -> None:
    await admin.execute(
        "INSERT INTO notify.templates (name, channel, body_text) VALUES ('welcome', 'email', '{% if %}')"
    )
    assert "template 'welcome' version 1" in worry(await examine(settings), "templates").what


async def test_mail_servers_are_greeted_only_if_asked(
    settings: Settings, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mail_server() as mail:
        monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{mail.port}?tls=none")
        await examine(settings)
        assert mail.connections == 0
        report = await examine(settings, providers=True)
        assert of(report, "providers.email")[0].level is Level.OK
        assert (mail.connections, mail.mails) == (1, [])
    assert "smtp_url" in worry(await examine(settings, providers=True), "providers.email").advice


async def test_a_key_that_ends_soon(settings: Settings, admin: Connection, redis: Any) -> None:
    await admin.execute(KEY)
    found = worry(await examine(settings), "keys")
    assert "'shop' (abcdefghijkl) ends in" in found.what
    assert "outbox key create" in found.advice


async def test_a_prepared_transaction_and_an_old_one(
    settings: Settings, database: Database, admin: Connection, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.doctor.server.LONG_SECONDS", 0.0)
    whole = settings.model_copy(update={"database_url": SecretStr(database.admin)})  # who may see others
    name = f"doctor-{database.name}"
    await admin.execute(f"BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION '{name}'")
    try:
        async with admin.transaction():
            report = await examine(whole)
    finally:
        await admin.execute(f"ROLLBACK PREPARED '{name}'")
    assert any(f"ROLLBACK PREPARED '{name}'" in each.advice for each in of(report, "postgres.prepared"))
    mine = admin.get_server_pid()
    terminate = f"SELECT pg_terminate_backend({mine})"
    assert any(terminate in each.advice for each in of(report, "postgres.long_transaction"))


async def test_as_json_with_an_exit_code(configured: Settings, outbox: Command, redis: Any) -> None:
    result = await outbox("doctor", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["level"]) == (2, "fail")  # no relay leads
    assert {"area", "check", "level", "what", "advice"} == told["findings"][0].keys()
    assert told["seconds"] > 0


async def test_as_a_table_the_worst_first(configured: Settings, outbox: Command, redis: Any) -> None:
    lines = (await outbox("doctor")).stdout.splitlines()
    [leader] = [line for line in lines if "no relay leads" in line]
    assert "✘ fail" in leader
    assert "→ outbox relay" in lines[lines.index(leader) + 1]
    assert "answers" not in "\n".join(lines)
    assert "answers" in (await outbox("doctor", "--all")).stdout


async def test_settings_that_are_wrong_are_findings_too(outbox: Command) -> None:
    result = await outbox("doctor", "--json")
    assert result.exit_code == 2
    assert "DATABASE_URL is not set" in [each["what"] for each in json.loads(result.stdout)["findings"]]
