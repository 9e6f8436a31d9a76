"""The view with the columns of Debezium's event router: their INSERT makes a notification, by the routes."""

import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db.pool import Connection

# The event of Debezium's own example (documentation of the outbox event router, "Example outbox message").
ID = UUID("406c07f3-26f0-4eea-a50c-109940064b8f")
ORDER = {
    "id": 1,
    "lineItems": [
        {"id": 1, "item": "Debezium in Action", "status": "ENTERED", "quantity": 2, "totalPrice": 39.98},
        {"id": 2, "item": "Debezium for Dummies", "status": "ENTERED", "quantity": 1, "totalPrice": 29.99},
    ],
    "orderDate": "2019-01-31T12:13:01",
    "customerId": 123,
}
INSERT = "INSERT INTO notify.outboxevent (id, aggregatetype, aggregateid, type, payload) VALUES ($1, $2, $3, $4, $5)"
EVENT = (ID, "Order", "1", "OrderCreated", json.dumps(ORDER))


async def route(admin: Connection, aggregatetype: str, kind: str, **columns: Any) -> None:
    columns = {"aggregatetype": aggregatetype, "type": kind} | columns
    names, places = ", ".join(columns), ", ".join(f"${i + 1}" for i in range(len(columns)))
    await admin.execute(f"INSERT INTO notify.event_routes ({names}) VALUES ({places})", *columns.values())


async def test_debezium_s_example_is_a_notification(producer: Connection, admin: Connection) -> None:
    await route(admin, "Order", "OrderCreated", user_path=["customerId"], event_type="order.created")
    assert await producer.execute(INSERT, *EVENT) == "INSERT 0 1"
    row = await admin.fetchrow(
        "SELECT n.id, n.event_type, n.user_id, n.channels, n.payload, n.dedup_key, o.origin"
        " FROM notify.notifications n JOIN notify.outbox o ON o.notification_id = n.id"
    )
    assert row is not None
    facts = dict(row)
    assert json.loads(facts.pop("payload")) == ORDER
    assert facts == {
        "id": ID,
        "event_type": "order.created",
        "user_id": "123",
        "channels": ["inapp"],
        "dedup_key": f"event:{ID}",
        "origin": "producer",
    }


async def test_the_same_event_twice_is_one_notification(producer: Connection, admin: Connection) -> None:
    await route(admin, "*", "*")
    assert await producer.execute(INSERT, *EVENT) == "INSERT 0 1"
    assert await producer.execute(INSERT, *EVENT) == "INSERT 0 0"
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 1


async def test_it_rolls_back_with_the_transaction(producer: Connection, admin: Connection) -> None:
    await route(admin, "*", "*")
    transaction = producer.transaction()
    await transaction.start()
    await producer.execute(INSERT, *EVENT)
    await transaction.rollback()
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 0


async def test_the_nearest_route_is_taken(producer: Connection, admin: Connection) -> None:
    for number, names in enumerate(
        [("*", "*"), ("*", "OrderCreated"), ("Order", "*"), ("Order", "OrderCreated")]
    ):
        await route(admin, *names, event_type=f"e{number}")
    for aggregatetype, kind in [
        ("Cart", "Left"),
        ("Cart", "OrderCreated"),
        ("Order", "Paid"),
        EVENT[1::2][:2],
    ]:
        await producer.execute(INSERT, None, aggregatetype, "ada", kind, None)
    rows = await admin.fetch("SELECT event_type, user_id, payload FROM notify.outbox ORDER BY id")
    assert [tuple(row) for row in rows] == [(f"e{number}", "ada", "{}") for number in range(4)]


async def test_what_a_route_may_say(producer: Connection, admin: Connection) -> None:
    await admin.execute(
        "INSERT INTO notify.templates (name, channel, body_text) VALUES ('receipt', 'email', 'x')"
    )
    await route(
        admin,
        *("Order", "*"),
        user_path=["buyer", "id"],
        channels=["email", "inapp"],
        template_name="receipt",
        priority="urgent",
    )
    await producer.execute(
        "INSERT INTO notify.outboxevent (aggregatetype, aggregateid, type, payload, timestamp, tracingspancontext)"
        " VALUES ('Order', '1', 'OrderPaid', '{\"buyer\": {\"id\": \"ada\"}}', now(), $1)",
        f"#props\ntraceparent=00-{'a' * 32}-{'b' * 16}-01\n",
    )
    row = await admin.fetchrow(
        "SELECT event_type, user_id, channels, template_name, priority, traceparent FROM notify.notifications"
    )
    assert row is not None
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    assert tuple(row) == ("OrderPaid", "ada", ["email", "inapp"], "receipt", "urgent", trace)


async def test_events_that_nobody_is_told_of(producer: Connection, admin: Connection) -> None:
    await route(admin, "*", "*", channels=[])
    assert await producer.execute(INSERT, *EVENT) == "INSERT 0 0"
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 0


async def test_an_event_without_a_route_is_refused(producer: Connection) -> None:
    with pytest.raises(
        asyncpg.CheckViolationError, match="no route for events of aggregatetype 'Order'"
    ) as caught:
        await producer.execute(INSERT, *EVENT)
    assert caught.value.constraint_name == "event_has_a_route"
    assert "notify.event_routes" in (caught.value.hint or "")


async def test_an_event_without_a_user_is_refused(producer: Connection, admin: Connection) -> None:
    await route(admin, "Order", "*", user_path=["buyer"])
    with pytest.raises(asyncpg.NotNullViolationError, match=r"payload has nothing at '\{buyer\}'"):
        await producer.execute(INSERT, *EVENT)


@pytest.mark.parametrize(
    ("event", "constraint"),
    [
        (
            (ID, "Order", "1", "Order$Created", "{}"),
            "event_type_is_1_to_128_letters_digits_dots_dashes_colons",
        ),
        ((ID, "Order", "1", "OrderCreated", "[1]"), "payload_is_a_json_object"),
        ((ID, "Order", "a\u2028b", "OrderCreated", "{}"), "user_id_is_1_to_200_printable_characters"),
        (
            (ID, "Order", "1", "OrderCreated", json.dumps({"x": "y" * 65536})),
            "payload_is_at_most_65536_bytes",
        ),
    ],
)
async def test_every_rule_of_the_outbox_holds(
    producer: Connection, admin: Connection, event: tuple[Any, ...], constraint: str
) -> None:
    await route(admin, "*", "*")
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await producer.execute(INSERT, *event)
    assert caught.value.constraint_name == constraint


async def test_a_view_of_the_producer_s_own_in_the_place_of_the_old_table(
    producer: Connection, admin: Connection
) -> None:
    """Code that says `outbox` goes on saying it."""
    await route(admin, "*", "*")
    await admin.execute(
        "CREATE VIEW public.outbox AS SELECT id, aggregatetype, aggregateid, type, payload FROM notify.outboxevent;"
        " GRANT INSERT ON public.outbox TO outbox_producer"
    )
    assert await producer.execute(INSERT.replace("notify.outboxevent", "outbox"), *EVENT) == "INSERT 0 1"
    assert await admin.fetchval("SELECT user_id FROM notify.notifications") == "1"


async def test_it_is_for_inserts_only(producer: Connection) -> None:
    for statement in (
        "SELECT id FROM notify.outboxevent",
        f"{INSERT.split(' VALUES', maxsplit=1)[0]} VALUES (NULL, 'a', 'a', 'a', '{{}}') RETURNING id",
        "SELECT type FROM notify.event_routes",
        "INSERT INTO notify.event_routes (aggregatetype, type) VALUES ('*', '*')",
        "SELECT notify.outboxevent_accept()",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await producer.execute(statement)
    for statement in ("DELETE FROM notify.outboxevent", "UPDATE notify.outboxevent SET type = 'x'"):
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            await producer.execute(statement)
