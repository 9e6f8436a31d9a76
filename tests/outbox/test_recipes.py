"""The SQL of docs/sql.md runs as it stands there."""

import re
from pathlib import Path

from db.pool import Connection

MANUAL = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")


def blocks(begin: str, end: str) -> list[str]:
    part = MANUAL.partition(begin)[2].partition(end)[0]
    return re.findall(r"^```sql\n(.*?)^```", part, re.MULTILINE | re.DOTALL)


async def test_a_trigger_of_the_producer_s_own(admin: Connection, producer: Connection) -> None:
    """By a login that has nothing but the role."""
    [trigger] = blocks("## Recipes", "## From Debezium")
    await admin.execute(
        "CREATE SCHEMA shop; GRANT USAGE, CREATE ON SCHEMA shop TO outbox_producer;"
        " GRANT CREATE ON DATABASE "
        + await admin.fetchval("SELECT current_database()")
        + " TO outbox_producer"
    )
    await producer.execute("CREATE TABLE shop.orders (id int, customer_id int, paid_at timestamptz)")
    await producer.execute(trigger)
    await producer.execute("INSERT INTO shop.orders VALUES (4711, 7, NULL)")
    for _ in range(2):
        await producer.execute("UPDATE shop.orders SET paid_at = now()")
    row = await admin.fetchrow("SELECT user_id, payload, dedup_key FROM notify.notifications")
    assert row is not None
    assert tuple(row) == ("7", '{"title": "Order 4711 is paid"}', "order:4711:paid")


async def test_debezium_s_table(admin: Connection, producer: Connection) -> None:
    event, routes = blocks("## From Debezium", "## What travels")
    await admin.execute(routes)
    await producer.execute(event)
    row = await admin.fetchrow("SELECT user_id, event_type, channels FROM notify.notifications")
    assert row is not None
    assert tuple(row) == ("123", "order.created", ["inapp", "email"])
