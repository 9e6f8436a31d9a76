"""Which rows of a block are traced, whatever producers have written into them."""

import json
from uuid import UUID

import pytest

from db.pool import Connection
from outbox.settings import Settings
from relay.entries import Block
from relay.ledger import load
from relay.quick import look_and_tick
from relay.traced import Carried, carried

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
IDS = [UUID(int=n) for n in range(1, 5)]
INSERT = (
    "INSERT INTO notify.outbox (notification_id, event_type, user_id, channels, payload, traceparent)"
    " VALUES ($1, 'order.paid', $2, '{inapp,email}', $3, $4)"
)


def lines(block: Block) -> int:
    return block.lines.count(b"\n")


@pytest.mark.parametrize("user_id", ["ada", 'ada","traceparent":"' + TRACE + '01"'], ids=["plain", "forged"])
async def test_rows_as_postgres_writes_them(
    admin: Connection, producer: Connection, settings: Settings, user_id: str
) -> None:
    forged = json.dumps(
        {"traceparent": TRACE + "01", "text": '"traceparent":"' + TRACE + '01"', "n": "\n 7 {"}
    )
    for identity, traceparent in zip(IDS, (TRACE + "01", TRACE + "00", None, TRACE + "03"), strict=True):
        await producer.execute(INSERT, identity, user_id, forged, traceparent)
    ledger = await load(admin, settings.keys)
    made = await look_and_tick(admin, ledger, settings.keys, ledger.snapshot)
    assert made is not None
    assert len(made.streams) == 2
    for blocks in made.streams.values():
        assert sum(map(lines, blocks)) == 4
        found = list(carried(blocks))
        assert [(UUID(row.notification_id), row.traceparent) for row in found] == [
            (IDS[0], TRACE + "01"),
            (IDS[3], TRACE + "03"),
        ]
        assert found[1].row == found[0].row + 3


def test_what_is_no_envelope_names_no_notification() -> None:
    line = b'7 {"traceparent":"%b01"}\n' % TRACE.encode()
    block = Block(7, 7, "inapp", "normal", 2, 0, 1, line)
    assert list(carried([block])) == [Carried(7, "", TRACE + "01", 2)]
