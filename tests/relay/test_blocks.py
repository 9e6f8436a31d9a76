"""What Postgres renders for the streams, through real servers: nothing is lost, mixed up or misread on the way."""

import json
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from db.pool import Connection
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay.entries import StreamId
from relay.main import build
from relay.ship import Shipper
from tests.relay.conftest import Reader

ROWS = (
    "INSERT INTO notify.outbox (event_type, user_id) SELECT 'a', i::text FROM generate_series(1, $1::int) i"
)
# Every third row goes another way, and some have been tried before.
MIXED = """
INSERT INTO notify.outbox (event_type, user_id, channels, priority, attempt)
SELECT 'a', i::text, (ARRAY['{inapp}', '{inapp,email}', '{email}'])[i % 3 + 1]::text[],
       CASE WHEN i % 10 = 0 THEN 'bulk' ELSE 'normal' END, CASE WHEN i % 7 = 0 THEN 1 ELSE 0 END
FROM generate_series(1, $1::int) i
"""
ODD = {
    "lines": "a\nb\r\nc\rd\u0085e\u2028f\u2029g",
    "quotes": "\"\\\" '\\n\\u000a' / </script>",
    "letters": "ø 漢字 🎉 e\u0301 \u200f\ufeff",
    "blanks": " \t  \u00a0 ",
    "key \n of two lines": {"": [1.5, -0.5, 12345678901234567890123, None, True]},
}


async def relayed(settings: Settings, nodes: Nodes) -> None:
    relay = build(settings, nodes)
    await relay.step()
    await relay.stop()


async def test_rows_of_many_ways_in_one_tick_keep_their_order_and_their_attempt_number(
    settings: Settings, admin: Connection, nodes: Nodes, reader: Reader
) -> None:
    await admin.execute(MIXED, 500)
    await relayed(settings, nodes)
    for channel, of_it in (("inapp", {0, 1}), ("email", {1, 2})):
        for lane, bulk in (("normal", False), ("bulk", True)):
            expected = [i for i in range(1, 501) if i % 3 in of_it and (i % 10 == 0) == bulk]
            assert await reader.users(channel, lane) == [str(i) for i in expected]
            raw = await reader.raw(settings.keys.stream(channel, lane))
            assert [fields[b"attempt"] for _, fields in raw] == [
                b"1" if i % 7 == 0 else b"0" for i in expected
            ]


async def test_no_text_of_a_producer_is_taken_for_the_end_of_an_entry(
    settings: Settings, producer: Connection, nodes: Nodes, reader: Reader
) -> None:
    users = ['"quoted" \\', "ø 漢字 🎉", "  1-1 {} ", "last"]
    for user in users:
        await producer.execute(
            "INSERT INTO notify.outbox (event_type, user_id, payload) VALUES ('a', $1, $2)",
            user,
            json.dumps(ODD),
        )
    await relayed(settings, nodes)
    envelopes = [envelope for _, envelope in await reader.entries()]
    assert [envelope.user_id for envelope in envelopes] == users
    assert all(envelope.payload == ODD for envelope in envelopes)


async def test_ids_are_exact_where_no_double_holds_them(
    settings: Settings, admin: Connection, producer: Connection, nodes: Nodes, reader: Reader
) -> None:
    first = 2**53 - 2
    await admin.execute("SELECT setval('notify.outbox_id_seq', $1, false)", first)
    await producer.execute(ROWS, 100)
    await relayed(settings, nodes)
    assert [entry_id.row for entry_id, _ in await reader.entries()] == list(range(first, first + 100))


@pytest.mark.parametrize("by_another", [False, True])
async def test_p2_a_stream_that_holds_a_part_of_a_block_gets_the_rest(
    settings: Settings,
    producer: Connection,
    nodes: Nodes,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
    by_another: bool,
) -> None:
    """As after a refill in small pages by a relay that died."""
    relay = build(settings, nodes)
    append = relay.shipper.streams.append

    async def cut_off(stream: str, pages: Any, expected: StreamId) -> Any:
        page = next(iter(pages))
        lines = page.lines.split(b"\n")[:17]
        top = StreamId(int(page.begin[:-1]), int(lines[-1].split(b" ")[0]))
        part = page._replace(top=top, entries=17, lines=b"\n".join(lines) + b"\n")
        await append(stream, [part], expected)
        raise RedisConnectionError("closed by server")

    left_behind: list[str] = []
    monkeypatch.setattr(Shipper, "leave_behind", lambda self, ledger, stream: left_behind.append(stream))
    await producer.execute(ROWS, 200)
    with monkeypatch.context() as patch:
        patch.setattr(relay.shipper.streams, "append", cut_off)
        with pytest.raises(RedisConnectionError):
            await relay.step()
    if by_another:
        await relay.stop()
        relay = build(settings, nodes)
    await relay.step()
    await relay.stop()
    assert await reader.users() == [str(i) for i in range(1, 201)]
    assert left_behind == []
