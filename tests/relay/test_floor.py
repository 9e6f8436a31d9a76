"""What the relay passes over: only partitions of which no row can still come to light."""

import asyncio

from db.pool import Connection
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay.floor import Floor
from relay.main import build
from relay.snapshot import Snapshot, Xid
from tests.relay.conftest import Reader

INSERT = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', $1)"


def snapshot(xmax: int, *xip: int) -> Snapshot:
    return Snapshot(Xid(xmax), frozenset(map(Xid, xip)))


def test_the_floor_rises_when_all_who_may_have_drawn_below_it_have_ended() -> None:
    floor = Floor()
    floor.note(40, Xid(9))
    assert floor.prove(snapshot(8)) == 0, "8 may have drawn 40 and not committed yet"
    assert floor.prove(snapshot(12, 7)) == 0, "so may 7"
    assert floor.prove(snapshot(12, 10)) == 40
    assert floor.prove(snapshot(12, 10)) == 40


async def test_a_row_has_its_transaction_id_before_it_draws_its_id(admin: Connection) -> None:
    await admin.execute("ALTER SEQUENCE notify.outbox_id_seq MAXVALUE 2")
    await admin.executemany(INSERT, [("last but one",), ("last",)])
    await admin.execute(
        "BEGIN; DO $$ BEGIN INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'b');"
        " EXCEPTION WHEN sequence_generator_limit_exceeded THEN NULL; END $$"
    )
    assert await admin.fetchval("SELECT pg_current_xact_id_if_assigned()") is not None
    await admin.execute("ROLLBACK")


async def test_an_open_transaction_keeps_the_floor_below_its_rows(
    settings: Settings, nodes: Nodes, producer: Connection, admin: Connection, reader: Reader
) -> None:
    relay = build(settings, nodes)
    transaction = producer.transaction()
    await transaction.start()
    await producer.execute(INSERT, "late")
    await admin.execute(INSERT, "early")
    await relay.step()
    for _ in range(3):
        await relay.verify()
        await relay.step()
    assert relay.ledger is not None
    assert relay.ledger.floor.id == 0
    await transaction.commit()
    async with asyncio.timeout(
        60
    ):  # whoever else writes on this server holds the floor down until it has ended
        while relay.ledger.floor.id == 0:
            await relay.step()
            await relay.verify()
    assert relay.ledger.floor.id == 2
    assert await reader.users() == ["early", "late"]
    await admin.execute(INSERT, "after")
    await relay.step()
    assert await admin.fetchval("SELECT floor FROM notify.relay_ticks ORDER BY no DESC LIMIT 1") == 2
    await relay.stop()
    successor = build(settings, nodes)
    await successor.step()
    assert successor.ledger is not None
    assert successor.ledger.floor.id == 2
    await successor.stop()
