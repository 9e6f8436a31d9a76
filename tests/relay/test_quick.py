"""Look and tick in one statement: what it takes, what it leaves to a look, and how it may go wrong."""

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from db import relay as sql
from db.pool import Connection
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay.ledger import AnotherHistoryError
from relay.main import build
from relay.quick import QUICK_BYTES, QUICK_ROWS
from relay.relay import Relay
from tests.conftest import Database
from tests.relay.conftest import Reader

INAPP = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('order.paid', $1)"
MANY = (
    "INSERT INTO notify.outbox (event_type, user_id) SELECT 'a', $1 || i FROM generate_series(1, $2::int) i"
)
BIG = "INSERT INTO notify.outbox (event_type, user_id, payload) VALUES ('a', $1, $2)"
TICKS = "SELECT no, rows, bytes, max_id, solo, tops::text, snapshot::text FROM notify.relay_ticks ORDER BY no"


@pytest.fixture
async def relay(settings: Settings, nodes: Nodes) -> AsyncIterator[Relay]:
    """One that leads and has found nothing yet."""
    relay = build(settings, nodes)
    await relay.step()
    yield relay
    await relay.stop()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which statements look at the log, or make ticks of it, in order."""
    names: list[str] = []
    for name in ("look", "insert_tick", "look_and_tick"):
        monkeypatch.setattr(sql, name, noted(names, name))
    return names


def noted(names: list[str], name: str) -> Any:
    statement = getattr(sql, name)

    async def run(*args: Any) -> Any:
        names.append(name)
        return await statement(*args)

    return run


async def test_few_rows_take_one_statement(
    relay: Relay, producer: Connection, admin: Connection, reader: Reader, asked: list[str]
) -> None:
    await producer.execute(INAPP, "alice")
    await producer.execute(INAPP, "bob")
    await relay.step()
    assert asked == ["look_and_tick"]
    assert await reader.users() == ["alice", "bob"]
    [tick] = await admin.fetch(TICKS)
    last = await admin.fetchval("SELECT max(id) FROM notify.outbox")
    assert (tick["no"], tick["rows"], tick["max_id"], tick["solo"]) == (1, 2, last, None)
    await producer.execute(INAPP, "carol")
    await relay.step()
    first, second = await admin.fetch(TICKS)
    (entry_id, _), *_ = (await reader.entries())[1:]
    assert json.loads(second["tops"]) == {"inapp": str(entry_id)}, "where the stream ended when it was made"
    assert relay.ledger
    assert relay.ledger.tick
    assert str(relay.ledger.tick.snapshot) == second["snapshot"] != first["snapshot"]


async def test_a_ticks_own_transaction_lies_behind_its_snapshot(
    relay: Relay, producer: Connection, admin: Connection
) -> None:
    """Else a snapshot would not say what was there when its rows were read."""
    for number in range(3):
        await producer.execute(INAPP, f"u{number}")
        await relay.step()
    own, end = "xmin::text::bigint", "pg_snapshot_xmax(snapshot)::text::bigint"
    ticks = await admin.fetch(f"SELECT {own} >= {end} FROM notify.relay_ticks")
    assert [behind for (behind,) in ticks] == [True, True, True]


@pytest.mark.parametrize("over", [0, 1])
async def test_many_rows_are_left_to_a_look(
    relay: Relay, producer: Connection, reader: Reader, asked: list[str], over: int
) -> None:
    await producer.execute(MANY, "u", QUICK_ROWS + over)
    await relay.step()
    assert asked == (["look_and_tick", "look", "insert_tick"] if over else ["look_and_tick"])
    assert await reader.users() == [f"u{n}" for n in range(1, QUICK_ROWS + over + 1)]
    asked.clear()
    await relay.step()  # after many, one may expect many
    await relay.step()
    assert asked == (["look", "look_and_tick"] if over else ["look_and_tick", "look_and_tick"])


async def test_one_big_row_is_taken_and_many_bytes_are_not(
    relay: Relay, producer: Connection, admin: Connection, reader: Reader, asked: list[str]
) -> None:
    noise = json.dumps({"x": secrets.token_hex(32_000)})
    await producer.execute(BIG, "big", noise)
    await relay.step()
    assert asked == ["look_and_tick"]
    [tick] = await admin.fetch(TICKS)
    assert len(noise) / 2 < tick["bytes"] < QUICK_BYTES
    rows = 2 * QUICK_BYTES // tick["bytes"]
    await producer.executemany(BIG, [(f"big{n}", noise) for n in range(rows)])
    asked.clear()
    await relay.step()
    assert asked == ["look_and_tick", "look", "insert_tick"]
    assert await reader.users() == ["big", *(f"big{n}" for n in range(rows))]


async def test_p2_what_was_open_at_one_tick_is_in_the_one_that_sees_it(
    relay: Relay, database: Database, producer: Connection, reader: Reader, asked: list[str]
) -> None:
    late = await asyncpg.connect(database.producer)
    transaction = late.transaction()
    await transaction.start()
    await late.execute(MANY, "late-", 3)
    for user in ("early", "second"):
        await producer.execute(INAPP, user)
        await relay.step()
    assert await reader.users() == ["early", "second"]
    await transaction.commit()
    await producer.execute(INAPP, "third")
    await relay.step()
    assert set(asked) == {"look_and_tick"}
    users = await reader.users()
    assert users[:2] == ["early", "second"]
    assert sorted(users[2:]) == ["late-1", "late-2", "late-3", "third"]
    await late.close()


async def test_a_big_open_transaction_is_not_read_until_it_has_ended(
    relay: Relay, database: Database, producer: Connection, reader: Reader, asked: list[str]
) -> None:
    late = await asyncpg.connect(database.producer)
    transaction = late.transaction()
    await transaction.start()
    await late.execute(MANY, "late-", 3 * QUICK_ROWS)
    await producer.execute(INAPP, "early")
    await relay.step()
    assert (await reader.users(), asked) == (["early"], ["look_and_tick"])
    await transaction.commit()
    asked.clear()
    await relay.step()
    assert asked == ["look_and_tick", "look", "insert_tick"]
    assert await reader.users() == ["early", *(f"late-{n}" for n in range(1, 3 * QUICK_ROWS + 1))]
    await late.close()


async def test_p2_another_relay_that_was_first_is_noticed(
    relay: Relay,
    settings: Settings,
    nodes: Nodes,
    producer: Connection,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def always(*_: object) -> bool:
        return True

    monkeypatch.setattr("relay.lead.Lead.held", always)
    other = build(settings, nodes)
    await producer.execute(INAPP, "alice")
    await other.step()
    await producer.execute(INAPP, "bob")
    assert await relay.step() == 0, "at once again"
    assert relay.ledger
    assert relay.ledger.stale
    assert await reader.users() == ["alice"]
    await relay.step()
    assert await reader.users() == ["alice", "bob"]
    await other.stop()


async def test_rows_from_another_database_make_no_tick(
    relay: Relay, producer: Connection, admin: Connection, asked: list[str]
) -> None:
    await producer.execute(INAPP, "ours")
    await producer.execute(INAPP, "theirs")
    await admin.execute("UPDATE notify.outbox SET xid = '900000000' WHERE user_id = 'theirs'")
    for _ in range(2):
        with pytest.raises(AnotherHistoryError):
            await relay.step()
    assert "copied from another one" in (relay.check() or "")
    assert "insert_tick" not in asked
    assert await admin.fetch(TICKS) == []


async def test_p2_a_tick_whose_making_nobody_was_told_of_is_brought_to_its_end(
    relay: Relay,
    producer: Connection,
    admin: Connection,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statement = sql.look_and_tick

    async def reply_lost(*args: Any) -> Any:
        monkeypatch.setattr(sql, "look_and_tick", statement)
        await statement(*args)
        raise ConnectionResetError

    monkeypatch.setattr(sql, "look_and_tick", reply_lost)
    await producer.execute(INAPP, "alice")
    with pytest.raises(ConnectionResetError):
        await relay.step()
    assert await reader.users() == []
    await producer.execute(INAPP, "bob")
    await relay.step()
    assert await reader.users() == ["alice", "bob"]
    assert [(tick["no"], tick["rows"]) for tick in await admin.fetch(TICKS)] == [(1, 1), (2, 1)]
