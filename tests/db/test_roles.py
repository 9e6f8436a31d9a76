"""Least privilege: what each role may do is listed here in full, and what it may not is tried."""

import re
from pathlib import Path

import asyncpg
import pytest

from db.pool import Connection
from tests.conftest import Database

PRODUCER_COLUMNS = {
    *("notification_id", "event_type", "user_id", "actor_user_id", "channels", "payload", "template_name"),
    *("dedup_key", "priority", "deliver_at", "expires_at", "traceparent"),
    *("digest_key", "digest_window", "escalate_after", "escalate_channels"),
}
PLAIN = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'u')"

FORBIDDEN = [
    "SELECT 1 FROM notify.outbox",
    "SELECT id FROM notify.notifications",
    "UPDATE notify.outbox SET user_id = 'x'",
    "DELETE FROM notify.outbox",
    "TRUNCATE notify.outbox",
    f"{PLAIN} RETURNING notification_id",
    "INSERT INTO notify.outbox (event_type, user_id, origin) VALUES ('a', 'u', 'schedule')",
    "INSERT INTO notify.outbox (event_type, user_id, attempt) VALUES ('a', 'u', 1)",
    "INSERT INTO notify.outbox (event_type, user_id, created_at) VALUES ('a', 'u', now())",
    "INSERT INTO notify.outbox (event_type, user_id, id) VALUES ('a', 'u', 1)",
    "INSERT INTO notify.outbox (event_type, user_id, xid) VALUES ('a', 'u', '1')",
    "INSERT INTO notify.outbox_default (event_type, user_id) VALUES ('a', 'u')",
    "INSERT INTO notify.notifications (event_type) VALUES ('a')",
    "SELECT config FROM notify.channels",
    "SELECT email FROM notify.recipients",
    "SELECT setval('notify.relay_flag', 2)",
    "SELECT setval('notify.outbox_id_seq', 1)",
    "SELECT notify.outbox_drop_partition('outbox_p0000000000000000000', '1:1:')",
    "SELECT notify.outbox_add_partition(1000000, 2000000)",
    "SELECT notify.purge('30 days', '-infinity', notify.uuid7(), 1)",
    "SELECT notify.outbox_accept()",
    "CREATE TABLE notify.mine ()",
    "CREATE FUNCTION notify.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
]


async def grants(admin: Connection, role: str) -> dict[str, set[str]]:
    """Table → privileges on the whole table."""
    rows = await admin.fetch(
        "SELECT c.relname, p.privilege FROM pg_class c, unnest(ARRAY['SELECT','INSERT','UPDATE','DELETE','TRUNCATE',"
        "'REFERENCES','TRIGGER']) AS p(privilege) WHERE c.relnamespace = 'notify'::regnamespace"
        " AND c.relkind IN ('r', 'p', 'v') AND has_table_privilege($1, c.oid, p.privilege)",
        role,
    )
    found: dict[str, set[str]] = {}
    for table, privilege in rows:
        found.setdefault(table, set()).add(privilege)
    return found


async def test_a_producer_may_insert_its_columns_and_nothing_else(admin: Connection) -> None:
    assert await grants(admin, "outbox_producer") == {"outboxevent": {"INSERT"}}
    rows = await admin.fetch(
        "SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges"
        " WHERE table_schema = 'notify' AND grantee = 'outbox_producer' AND table_name <> 'outboxevent'"
    )
    assert {tuple(row) for row in rows} == {("outbox", column, "INSERT") for column in PRODUCER_COLUMNS}


async def test_a_producer_cannot(producer: Connection) -> None:
    assert await producer.execute(PLAIN) == "INSERT 0 1"
    for statement in FORBIDDEN:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await producer.execute(statement)


async def test_a_producer_s_own_objects_do_not_lead_the_trigger_astray(
    producer: Connection, admin: Connection
) -> None:
    """A definer function with a loose search_path would use these, with the owner's rights."""
    await producer.execute("CREATE TEMP TABLE channels (name text)")
    await producer.execute("SET search_path = pg_temp, public")
    assert await producer.execute(PLAIN) == "INSERT 0 1"
    loose = await admin.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'notify'::regnamespace AND prosecdef"
        " AND NOT coalesce(proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false)"
    )
    assert [row[0] for row in loose] == []


async def test_nobody_may_call_a_function_by_default(admin: Connection) -> None:
    rows = await admin.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'notify'::regnamespace"
        " AND (proacl IS NULL OR EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0))"
    )
    assert [row[0] for row in rows] == []


async def test_the_service_may_not_rewrite_the_log(pool: asyncpg.Pool, admin: Connection) -> None:
    everything = await grants(admin, "outbox_app")
    assert everything.pop("outbox") == {"SELECT", "INSERT", "DELETE"}
    assert everything.pop("audit_log") == {"SELECT", "INSERT"}
    assert everything.pop("shards") == {"SELECT"}, "a view"
    assert everything.pop("veil_key") == {"SELECT"}
    assert "outboxevent" not in everything
    assert everything.pop("api_keys") == {"SELECT", "INSERT"}
    for table, privileges in everything.items():
        if table == "alembic_version":
            continue
        assert privileges == {"SELECT", "INSERT", "UPDATE", "DELETE"}, table
    for statement in (
        "UPDATE notify.outbox SET user_id = 'x'",
        "DROP TABLE notify.outbox_default",
        "CREATE TABLE notify.mine ()",
        "ALTER TABLE notify.channels ADD COLUMN mine int",
        "UPDATE notify.audit_log SET actor = 'x'",
        "DELETE FROM notify.audit_log",
        "TRUNCATE notify.audit_log",
        "DELETE FROM notify.api_keys",
        "UPDATE notify.api_keys SET hash = sha256('x')",
        "UPDATE notify.api_keys SET id = 'abcdefghijkl'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)


async def test_the_service_is_no_superuser_and_owns_nothing(pool: asyncpg.Pool) -> None:
    row = await pool.fetchrow(
        "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication AS mighty,"
        " EXISTS (SELECT FROM pg_class WHERE relowner = r.oid) AS owner FROM pg_roles r WHERE rolname = current_user"
    )
    assert tuple(row or ()) == (False, False)


async def test_a_reader_reads_everything_and_writes_nothing(admin: Connection, database: Database) -> None:
    found = await grants(admin, "outbox_readonly")
    assert {"notifications", "outbox", "deliveries", "relay_ticks"} <= found.keys()
    assert set().union(*found.values()) == {"SELECT"}
    assert "veil_key" not in found, "with it, veiled addresses could be guessed"
    reader = await asyncpg.connect(database.readonly)
    try:
        assert await reader.fetchval("SELECT count(*) FROM notify.notifications") == 0
        assert await reader.fetch("SELECT id, scopes, last_used_at FROM notify.api_keys") == []
        for statement in (
            PLAIN,
            "DELETE FROM notify.inbox",
            "SELECT nextval('notify.outbox_id_seq')",
            "SELECT hash FROM notify.api_keys",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute(statement)
    finally:
        await reader.close()


async def test_the_group_roles_cannot_log_in(admin: Connection) -> None:
    rows = await admin.fetch(
        "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname ~ '^outbox_(producer|app|readonly)$'"
    )
    assert {tuple(row) for row in rows} == {
        ("outbox_producer", False),
        ("outbox_app", False),
        ("outbox_readonly", False),
    }


def test_the_manual_lists_the_producer_s_columns() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
    table = manual.partition("## Columns")[2].partition("## Once only")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == PRODUCER_COLUMNS
