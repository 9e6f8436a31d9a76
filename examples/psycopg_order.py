"""A producer with psycopg 3: the order and its notification commit together, or not at all.

Run it against a database that has the schema (`outbox migrate`); `make up` prints such a URL:

    DATABASE_URL=postgresql://… python examples/psycopg_order.py
"""

import os
import sys

import psycopg

import outbox
from outbox.errors import InvalidNotificationError

SHOP = "CREATE TABLE IF NOT EXISTS example_orders (id bigserial PRIMARY KEY, customer text, total numeric)"


def pay(conn: psycopg.Connection, customer: str, total: float) -> int:
    """Book a paid order and tell the customer. Commits nothing: the caller's transaction does."""
    insert = "INSERT INTO example_orders (customer, total) VALUES (%s, %s) RETURNING id"
    [(order,)] = conn.execute(insert, (customer, total)).fetchall()
    outbox.enqueue_sync(
        conn,
        event_type="order.paid",
        user_id=customer,
        payload={"title": f"Order {order} is paid", "total": total},
        dedup_key=f"order:{order}:paid",
    )
    return int(order)


def main() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
        conn.execute(SHOP)
        conn.commit()

        with conn.transaction():
            order = pay(conn, "u-1", 12.5)
        sys.stdout.write(f"committed: order {order} and its notification\n")

        with conn.transaction(force_rollback=True):
            order = pay(conn, "u-1", 99.0)
        sys.stdout.write(f"rolled back: neither order {order} nor a notification\n")

        try:
            with conn.transaction():
                outbox.enqueue_sync(conn, event_type="order.paid", user_id="u-1", channels=["pigeon"])
        except InvalidNotificationError as error:
            sys.stdout.write(f"refused: {error.field}: {error.rule}\n")


if __name__ == "__main__":
    main()
