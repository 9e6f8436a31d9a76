"""What a producer's login cannot do: read what others wrote, reach anything else, lift a rule, or flood the service."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from db.pool import Connection
from tests.conftest import Database
from tests.db.test_roles import PLAIN

REFUSED = (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError)


@pytest.fixture
async def another(database: Database) -> AsyncIterator[Connection]:
    """A second producer, on a connection of its own."""
    connection = await asyncpg.connect(database.producer)
    try:
        yield connection
    finally:
        connection.terminate()


async def names(admin: Connection, query: str) -> set[str]:
    return {row[0] for row in await admin.fetch(query)}


async def test_no_table_can_be_read_or_written(producer: Connection, admin: Connection) -> None:
    tables = await names(
        admin,
        "SELECT relname FROM pg_class WHERE relnamespace = 'notify'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')",
    )
    assert {"outbox", "outbox_default", "notifications", "erasures", "audit_log", "outboxevent"} <= tables
    for table in sorted(tables):
        for statement in (
            f"SELECT FROM notify.{table}",
            f"SELECT count(*) FROM notify.{table}",
            f"DELETE FROM notify.{table}",
            f"TRUNCATE notify.{table}",
            f"DO $$ BEGIN LOCK TABLE notify.{table} IN SHARE MODE; END $$",
            f"COPY notify.{table} TO STDOUT",
            f"CREATE TABLE pg_temp.t (LIKE notify.{table} INCLUDING ALL); INSERT INTO pg_temp.t TABLE notify.{table}",
        ):
            with pytest.raises((*REFUSED, asyncpg.WrongObjectTypeError)):
                await producer.execute(statement)


async def test_no_row_comes_back_by_a_side_door(producer: Connection, another: Connection) -> None:
    """Each would need to read a column of the table, or to change a row."""
    await another.execute("INSERT INTO notify.outbox (event_type, user_id, dedup_key) VALUES ('a', 'u', 'k')")
    for statement in (
        f"{PLAIN} RETURNING *",
        f"{PLAIN} RETURNING user_id",
        "INSERT INTO notify.outbox (event_type, user_id) SELECT event_type, user_id FROM notify.outbox",
        "EXPLAIN ANALYZE SELECT * FROM notify.outbox",
        "SELECT pg_get_serial_sequence('notify.outbox', 'id'), nextval('notify.relay_flag')",
        "SELECT pg_relation_filepath('notify.outbox'), pg_read_file('PG_VERSION')",
        "SELECT query_to_xml('SELECT * FROM notify.outbox', true, true, '')",
        "CREATE RULE peek AS ON INSERT TO notify.outbox DO ALSO NOTHING",
        "CREATE TRIGGER peek AFTER INSERT ON notify.outbox FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE PUBLICATION peek FOR TABLE notify.outbox",
        "SELECT pg_create_logical_replication_slot('peek', 'pgoutput')",
    ):
        with pytest.raises((*REFUSED, asyncpg.ObjectInUseError)):
            await producer.execute(statement)
    assert await producer.fetchval("SELECT count(*) FROM pg_stats WHERE schemaname = 'notify'") == 0


async def test_an_error_shows_only_the_own_row(producer: Connection, another: Connection) -> None:
    await another.execute(
        "INSERT INTO notify.outbox (notification_id, event_type, user_id, payload)"
        " VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 'a', 'somebody', '{\"secret\": 1}')"
    )
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await producer.execute(
            "INSERT INTO notify.outbox (notification_id, event_type, user_id)"
            " VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 'a', 'u')"
        )
    said = " ".join(map(str, caught.value.as_dict().values()))
    assert "somebody" not in said
    assert "secret" not in said


async def test_functions_and_sequences_are_these_alone(admin: Connection) -> None:
    functions = await names(
        admin,
        "SELECT proname FROM pg_proc WHERE pronamespace = 'notify'::regnamespace"
        " AND has_function_privilege('outbox_producer', oid, 'EXECUTE')",
    )
    assert functions == {"uuid7", "cancel", "cancel_key"}
    rows = await admin.fetch(
        "SELECT relname, p FROM pg_class, unnest(ARRAY['SELECT', 'USAGE', 'UPDATE']) p"
        " WHERE relnamespace = 'notify'::regnamespace AND relkind = 'S'"
        " AND has_sequence_privilege('outbox_producer', oid, p)"
    )
    assert {tuple(row) for row in rows} == {("outbox_id_seq", "USAGE"), ("relay_flag", "SELECT")}


async def test_no_rule_can_be_lifted(producer: Connection) -> None:
    """Nor the trigger that keeps them be passed by."""
    for statement in (
        "SET session_replication_role = replica",
        "ALTER TABLE notify.outbox DISABLE TRIGGER outbox_accept",
        "ALTER TABLE notify.notifications DROP CONSTRAINT payload_is_at_most_65536_bytes",
        "DROP TRIGGER outbox_accept ON notify.outbox",
        "CREATE OR REPLACE FUNCTION notify.is_printable(value text, most integer) RETURNS boolean"
        " LANGUAGE sql AS 'SELECT true'",
        "CREATE FUNCTION notify.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SET ROLE outbox_app",
        "GRANT outbox_app TO outbox_test_producer",
        "COPY notify.outbox (event_type, user_id, origin) FROM STDIN",
        "ALTER VIEW notify.outboxevent SET (security_invoker = true)",
    ):
        with pytest.raises(REFUSED):
            await producer.execute(statement)


LONGEST: dict[str, Any] = {
    "event_type": "e" * 128,
    "user_id": "\N{OLD PERSIAN SIGN A}" * 200,
    "actor_user_id": "\N{OLD PERSIAN SIGN A}" * 200,
    "channels": ["inapp", "email", "sms", "push", "webhook"],
    "payload": json.dumps({"x": "y" * (65536 - len('{"x": ""}'))}),
    "dedup_key": "\N{OLD PERSIAN SIGN A}" * 255,
    "digest_key": "\N{OLD PERSIAN SIGN A}" * 255,
    "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
}
PLACES = ", ".join(f"${i + 1}" for i in range(len(LONGEST)))
STATEMENT = f"INSERT INTO notify.outbox ({', '.join(LONGEST)}) VALUES ({PLACES})"


async def test_the_longest_row_there_can_be(producer: Connection, admin: Connection) -> None:
    """Everything at its limit is taken; it is 70 KB, and so is the most that a row costs anybody."""
    assert await producer.execute(STATEMENT, *LONGEST.values()) == "INSERT 0 1"
    size = await admin.fetchval("SELECT octet_length(o::text) FROM notify.outbox o")
    assert 68_000 < size < 72_000


@pytest.mark.parametrize(
    "longer",
    [
        {"event_type": "e" * 129},
        {"user_id": "u" * 201},
        {"actor_user_id": "u" * 201},
        {"channels": ["inapp"] * 17},
        {"payload": json.dumps({"x": "y" * 65536})},
        {"payload": '{"x": 1e131000}'},  # nine bytes that jsonb writes out as 131,000 digits
        {"payload": '{"x":' * 20000 + "1" + "}" * 20000},
        {"dedup_key": "k" * 256},
        {"digest_key": "k" * 256},
        {"traceparent": "0" * 10_000},
    ],
    ids=str,
)
async def test_one_more_is_refused(producer: Connection, admin: Connection, longer: dict[str, Any]) -> None:
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.StatementTooComplexError)):
        await producer.execute(STATEMENT, *(LONGEST | longer).values())
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 0


async def test_whoever_listens_hears_nothing_of_anybody(producer: Connection, another: Connection) -> None:
    """Every login may LISTEN (there is no privilege for it), so a notification carries nothing."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    await producer.add_listener("notify_relay", lambda *told: heard.put_nowait(str(told[-1])))
    await another.execute(
        "INSERT INTO notify.outbox (event_type, user_id, payload) VALUES ('a', 'u', '{\"x\": 1}')"
    )
    async with asyncio.timeout(60):
        assert await heard.get() == ""
    await producer.remove_listener("notify_relay", lambda *_: None)


async def test_nothing_in_the_schema_notifies_with_words(admin: Connection) -> None:
    """A payload would be heard by every login, and would count against the queue that all databases share."""
    sources = await admin.fetch(
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'notify'::regnamespace AND prosrc ~ 'pg_notify'"
    )
    assert sources
    for name, source in sources:
        assert source.count("pg_notify(") == source.count(", '')"), name
