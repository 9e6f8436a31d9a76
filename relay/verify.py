"""Where the streams really end: a loss shows even where nothing is appended; and what may therefore be dropped."""

from dataclasses import dataclass
from time import time

from db.pool import Connection
from relay import metrics
from relay.entries import StreamId
from relay.ledger import Ledger
from relay.ship import Shipper, is_of_a_tick
from relay.snapshot import Snapshot
from relay.streams import State


@dataclass(frozen=True, slots=True)
class Droppable:
    """What was certain at one moment, and stays so: of the rows that `ticked` sees, none below `needed_id` was
    in a stream, and none was missing from one. So they are settled (invariant I7)."""

    ticked: Snapshot
    needed_id: int


async def verify(conn: Connection, shipper: Shipper, ledger: Ledger) -> Droppable | None:
    """Compare every stream's end with the ledger. None where something is being mended, or cannot be read."""
    names = [*ledger.tops, *(stream for stream in ledger.behind if stream not in ledger.tops)]
    states = await shipper.streams.states(names)
    for stream, state in zip(names, states, strict=True):
        shipper.lengths[stream] = state.length
        measure(stream, state)
        expected = ledger.top(stream)
        if stream in ledger.behind or not state.usable or state.top == expected:
            continue
        if state.top > expected and await is_of_a_tick(conn, state.top):
            found_ahead(ledger, stream, state.top)
        else:
            shipper.lost(ledger, stream, expected, state.top)
    if ledger.stale or ledger.behind or ledger.in_doubt or not all(state.usable for state in states):
        return None
    needed = min((state.first.row for state in states if state.first), default=2**63 - 1)
    return Droppable(ledger.snapshot, needed)


def measure(stream: str, state: State) -> None:
    metrics.QUEUE_LENGTH.labels(stream).set(state.length)
    metrics.OLDEST_SECONDS.labels(stream).set(age(state.first.ms) if state.first else 0)
    for counter in (metrics.LOSSES, metrics.REFILLED, metrics.SKIPPED):
        counter.labels(stream)  # 0 from the beginning: an increase is seen only of what was there before


def age(ms: int) -> float:
    """Seconds since a tick, whose milliseconds are Postgres'."""
    return max(time() - ms / 1000, 0.0)


def found_ahead(ledger: Ledger, stream: str, top: StreamId) -> None:
    """Another relay appended, as its ticks will tell; or a tick known here was read again after its last row of this
    stream had been erased, and so looked as if it ended earlier. The stream holds everything up to its end (I5)."""
    if ledger.tick and top.ms <= ledger.tick.ms:
        ledger.tops[stream] = top
    else:
        ledger.stale = True
