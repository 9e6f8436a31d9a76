"""The relay's part in the traces of what it ships: for each row that is traced, a span from the look that found it
until it was in its stream. Where nothing is traced no row is touched for it."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from outbox import tracing
from outbox.tracing import Attributes, Kind
from relay.entries import Block, Tick

# What one look at rest finds (relay.quick). Of a backlog's ticks not every row is told: that would slow them down.
SPANS = 200
# Only the envelope has it without a space behind the colon: what is inside a payload was printed by jsonb, and in a
# text the quotes are escaped. The flags are odd: it is sampled.
TRACED = re.compile(rb'"traceparent":"([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf])"')
MARK = b'"traceparent":"'
NOTIFICATION_ID = re.compile(rb'\d+ \{"v":1,"notification_id":"([0-9a-f-]{36})"')


class Carried(NamedTuple):
    """A row that is part of a trace."""

    row: int
    notification_id: str
    traceparent: str
    attempt: int


def now() -> int:
    """As spans have it; 0 where nothing is traced."""
    return time.time_ns() if tracing.on() else 0


def shipped(tick: Tick, streams: Mapping[str, Sequence[Block]], cause: str, began: int) -> None:
    """These are in their streams; `began`: when the look did that found them."""
    ended = time.time_ns()
    found = ((stream, row) for stream, blocks in streams.items() for row in carried(blocks))
    for stream, row in islice(found, SPANS):
        attributes: Attributes = {
            "messaging.system": "redis",
            "messaging.destination.name": stream,
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.message.id": row.notification_id,
            "messaging.batch.message_count": tick.rows,
            "outbox.entry_id": f"{tick.ms}-{row.row}",
            "outbox.attempt": row.attempt + 1,
            "outbox.tick": tick.no,
            "outbox.wake_up": cause,
        }
        tracing.begin(f"publish {stream}", Kind.PRODUCER, row.traceparent, attributes, at=began).end(ended)


def carried(blocks: Sequence[Block]) -> Iterator[Carried]:
    for block in blocks:
        if MARK in block.lines:
            for found in TRACED.finditer(block.lines):
                yield row_of(block, found.start(), found[1].decode())


def row_of(block: Block, place: int, traceparent: str) -> Carried:
    """The row on whose line the place is."""
    begins = block.lines.rfind(b"\n", 0, place) + 1
    identity = NOTIFICATION_ID.match(block.lines, begins)
    row = int(block.lines[begins : block.lines.index(b" ", begins)])
    return Carried(row, identity[1].decode() if identity else "", traceparent, block.attempt)
