"""No column of the schema without a word on whether it holds what is personal, and so on how it is erased."""

from db.pool import Connection
from tests.db.personal import OTHER, PERSONAL, columns


async def test_every_column_is_known(admin: Connection) -> None:
    known = {
        table: PERSONAL.get(table, set()) | set(OTHER.get(table, "").split()) for table in PERSONAL | OTHER
    }
    assert await columns(admin) == known


def test_no_column_is_both() -> None:
    assert [table for table, names in PERSONAL.items() if names & set(OTHER[table].split())] == []


async def test_whatever_hangs_on_a_notification_goes_with_it(admin: Connection) -> None:
    """A table with a notification's id refers to it and is taken along, but for two that name persons themselves."""
    loose = await admin.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'notification_id'"
        " WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'"
        " AND k.confrelid = 'notify.notifications'::regclass AND k.confdeltype = 'c' AND a.attnum = ANY (k.conkey))"
    )
    assert {row[0] for row in loose} == {"outbox", "endpoint_turns"}
