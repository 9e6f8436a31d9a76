"""`enqueue` on every kind of connection, with the rights of outbox_producer and nothing more."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import RFC_4122, UUID

import asyncpg
import psycopg
import pytest
from psycopg.rows import dict_row

import outbox
from db.pool import Connection
from outbox.errors import InvalidNotificationError
from outbox.producer import Fields, uuid7
from tests.conftest import Database
from tests.outbox.doors import DOORS, Door, over_asyncpg, over_psycopg_async

ONE: dict[str, Any] = {"event_type": "order.paid", "user_id": "u-1"}
LATER = datetime(2190, 1, 1, tzinfo=UTC)


class UndoneError(Exception):
    """Ends a transaction the wrong way, on purpose."""


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
async def door(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Door]:
    async with request.param(database.producer) as door:
        yield door


async def ids(admin: Connection, table: str) -> list[UUID]:
    column = {"notifications": "id"}.get(table, "notification_id")
    return [row[0] for row in await admin.fetch(f"SELECT {column} FROM notify.{table} ORDER BY {column}")]


async def test_a_commit_leaves_the_notification_and_its_outbox_row(door: Door, admin: Connection) -> None:
    async with door.begin():
        identity = await door.send(**ONE, payload={"total": 12.5, "note": "süß 🍰 'quoted' \\ :p1 %s $1"})
        assert await ids(admin, "notifications") == []  # nobody sees it before the commit
    assert await ids(admin, "notifications") == await ids(admin, "outbox") == [identity]


async def test_every_field_arrives_as_it_was_given(door: Door, admin: Connection) -> None:
    await admin.execute("INSERT INTO notify.templates (name, channel) VALUES ('receipt', 'email')")
    expires = datetime(2199, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
    given = outbox.Notification(
        **ONE,
        actor_user_id='ann, "the" {boss}',
        channels=["email", "inapp"],
        payload={"a": [1, None, True, {"b": "c"}]},
        template_name="receipt",
        dedup_key="order-1:paid",
        priority=outbox.Priority.URGENT,
        expires_at=expires,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    async with door.begin():
        await door.send(given)
    for table in ("notifications", "outbox"):
        row = await admin.fetchrow(f"SELECT * FROM notify.{table}")
        assert row is not None
        stored = {name: row[name] for name in outbox.Notification.model_fields}
        stored["payload"] = json.loads(stored["payload"])
        assert outbox.Notification.model_validate(stored) == given


async def test_a_rollback_leaves_nothing(door: Door, admin: Connection) -> None:
    async def undo() -> None:
        async with door.begin():
            await door.send(**ONE)
            raise UndoneError

    with pytest.raises(UndoneError):
        await undo()
    assert await ids(admin, "notifications") == await ids(admin, "outbox") == []


async def test_a_rolled_back_savepoint_takes_its_notification_with_it(door: Door, admin: Connection) -> None:
    async def undo() -> None:
        async with door.nest():
            await door.send(**ONE)
            raise UndoneError

    async with door.begin():
        kept = await door.send(**ONE)
        with pytest.raises(UndoneError):
            await undo()
    assert await ids(admin, "notifications") == await ids(admin, "outbox") == [kept]


async def test_a_repeat_of_a_dedup_key_returns_the_first_id(door: Door, admin: Connection) -> None:
    async with door.begin():
        first = await door.send(**ONE, dedup_key="k")
        other = await door.send(**ONE, dedup_key="another")
        assert await door.send(**ONE, dedup_key="k") == first
        assert await door.send(**ONE) not in {first, other}  # not misled by the repeat before it
    async with door.begin():
        assert await door.send(**ONE, dedup_key="k") == first
    assert len(await ids(admin, "notifications")) == len(await ids(admin, "outbox")) == 3


async def test_a_delivery_for_later_is_scheduled(door: Door, admin: Connection) -> None:
    async with door.begin():
        identity = await door.send(**ONE, deliver_at=LATER)
        past = await door.send(**ONE, deliver_at=datetime(2001, 1, 1, tzinfo=UTC))
    rows = await admin.fetch("SELECT notification_id, due_at, reason, channels FROM notify.scheduled")
    assert [tuple(row) for row in rows] == [(identity, LATER, "deliver_at", ["inapp"])]
    assert await ids(admin, "outbox") == [past]


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        (
            "channels",
            ["fax"],
            "channel 'fax' in column \"channels\" is not known. Known channels: email, inapp",
        ),
        ("template_name", "nowhere", "template 'nowhere' in column \"template_name\" does not exist. Add it"),
    ],
)
async def test_the_database_s_own_rules_come_back_by_field(
    door: Door, admin: Connection, field: str, value: Any, rule: str
) -> None:
    async def send() -> None:
        async with door.begin():
            await door.send(**ONE, **{field: value})

    with pytest.raises(InvalidNotificationError) as caught:
        await send()
    assert caught.value.field == field
    assert caught.value.rule.startswith(rule)
    # The driver's error quotes the row in its DETAIL; it must not come along into a log.
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None
    assert await ids(admin, "notifications") == []


async def test_what_the_model_refuses_leaves_the_transaction_usable(door: Door, admin: Connection) -> None:
    async with door.begin():
        with pytest.raises(InvalidNotificationError, match="payload: must not contain NUL"):
            await door.send(**ONE, payload={"a": "\0"})
        kept = await door.send(**ONE)
    assert await ids(admin, "outbox") == [kept]


async def test_without_a_transaction_it_commits_alone_and_still_knows_the_first_id(
    database: Database,
) -> None:
    async with over_asyncpg(database.producer) as door:
        first = await door.send(**ONE, dedup_key="k")
        assert await door.send(**ONE, dedup_key="k") == first


async def test_psycopg_with_other_cursors_and_rows_and_in_a_pipeline(database: Database) -> None:
    async with await psycopg.AsyncConnection.connect(
        database.producer, row_factory=dict_row, cursor_factory=psycopg.AsyncClientCursor
    ) as conn:
        async with conn.pipeline():
            first = await outbox.enqueue(conn, **ONE, dedup_key="k")
            again = await outbox.enqueue(conn, **ONE, dedup_key="k")
        assert first == again


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
async def test_the_second_of_one_dedup_key_waits_for_the_first(
    database: Database, admin: Connection, commit: bool
) -> None:
    async with over_asyncpg(database.producer) as one, over_psycopg_async(database.producer) as two:
        transaction = one.conn.transaction()
        await transaction.start()
        first = await one.send(**ONE, dedup_key="k")
        async with two.begin():
            waiting = asyncio.ensure_future(two.send(**ONE, dedup_key="k"))
            await until_blocked(admin, two.conn.info.backend_pid, waiting)
            await (transaction.commit() if commit else transaction.rollback())
            second = await waiting
    assert (second == first) is commit
    assert await ids(admin, "notifications") == await ids(admin, "outbox") == [second]


async def until_blocked(admin: Connection, pid: int, waiting: "asyncio.Future[UUID]") -> None:
    deadline = time.monotonic() + 60
    while not await admin.fetchval("SELECT pg_blocking_pids($1) <> '{}'", pid):
        assert not waiting.done(), "it did not wait"
        assert time.monotonic() < deadline, "it never reached the lock"


async def test_a_connection_of_the_wrong_kind_is_refused_by_name(database: Database) -> None:
    with pytest.raises(TypeError, match=r"sqlite3\.Connection is no connection .*asyncpg\.Connection"):
        await outbox.enqueue(__import__("sqlite3").connect(":memory:"), **ONE)
    with (
        psycopg.connect(database.producer) as sync,
        pytest.raises(TypeError, match=r"psycopg\.Connection .*use enqueue_sync"),
    ):
        await outbox.enqueue(sync, **ONE)  # type: ignore[call-overload]  # the mistake under test
    async with over_asyncpg(database.producer) as door:
        with pytest.raises(TypeError, match="use await enqueue"):
            outbox.enqueue_sync(door.conn, **ONE)
        with pytest.raises(TypeError, match=r"one outbox\.Notification, or its fields"):
            await door.send(outbox.Notification(**ONE), user_id="u-2")


async def test_other_errors_of_the_database_pass_through(database: Database) -> None:
    conn = await asyncpg.connect(database.readonly)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await outbox.enqueue(conn, **ONE)
    await conn.close()


def test_the_keyword_fields_are_those_of_the_model() -> None:
    assert Fields.__annotations__.keys() == outbox.Notification.model_fields.keys()
    required = {name for name, field in outbox.Notification.model_fields.items() if field.is_required()}
    assert Fields.__required_keys__ == required


def test_no_optional_driver_is_imported() -> None:
    look = "import sys, outbox; outbox.enqueue; print({'psycopg', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


async def test_uuid7_is_as_the_database_makes_it(admin: Connection) -> None:
    ours, theirs = uuid7(), await admin.fetchval("SELECT notify.uuid7()")
    for value in (ours, theirs):
        assert (value.version, value.variant) == (7, RFC_4122)
        made = datetime.fromtimestamp((value.int >> 80) / 1000, UTC)
        assert abs(datetime.now(UTC) - made) < timedelta(minutes=1)
    assert len({uuid7() for _ in range(10_000)}) == 10_000
