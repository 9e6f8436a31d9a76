"""The machines find bugs: each planted one is killed, by a promise, not by a look inside the mechanism.

A mutant changes the relay, or the one thing it relies on, in one place. The runs are the same every time.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from redis.exceptions import RedisError

import relay.catch_up
import relay.entries
import relay.ledger
import relay.quick
import relay.relay
import relay.reshard
import relay.ship
from db import relay as sql
from db.pool import Connection
from db.shards import Shards
from outbox.service import Step, Stop, wait
from outbox.streams import Keys
from relay.catch_up import Chunk
from relay.entries import Block, Page, Row, StreamId, Tick, by_stream
from relay.floor import Floor
from relay.ledger import Ledger
from relay.look import look
from relay.placement import UNSHARDED, Placement, next_placement
from relay.quick import Made
from relay.ship import Blocks, Job, Shipper
from relay.snapshot import Snapshot, Xid
from relay.streams import Result
from relay.verify import Droppable
from relay.wake import Mode, Sleep
from tests.relay.model import scheduler, wake_machine
from tests.relay.model.audit import BrokenError
from tests.relay.model.machine import RelayMachine
from tests.relay.model.postgres import Record
from tests.relay.model.redis import Redis, Stream
from tests.relay.model.wake_machine import Producer, WakeMachine

pytestmark = pytest.mark.timeout(600)  # a mutant that lives takes minutes
Plant = Callable[[], AbstractContextManager[object]]
# Many short hunts: one that goes on finds little more of what it has not found by then.
HUNTS = 120
HUNT = settings(
    max_examples=25,
    report_multiple_bugs=False,  # the first is enough
    stateful_step_count=60,
    deadline=None,
    derandomize=False,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# The hunts that find at once what those before them do not; where that has changed, it only takes longer.
SOONER = {
    "a refill takes all ticks for what the last one was": 21,
    "another number of shards holds for what was looked for already": 3,
    "old partitions go whatever the streams hold": 3,
    "the flag is read through MVCC": 7,
    "the snapshot is read after the rows": 6,
}


def hunt(machine: type[Any], first: int) -> None:
    for number in range(first, first + HUNTS):
        run_state_machine_as_test(seed(number)(machine), settings=HUNT)


def kills(machine: type[Any], promise: str, first: int = 0) -> None:
    with pytest.raises(BrokenError, match=rf"^{promise}: "):
        hunt(machine, first)


# The relay


class Blind(Redis):
    """append.lua without its comparison."""

    def ends_with(self, stream: Stream, expected: StreamId) -> bool:
        return True


class Trusting(Redis):
    """A page that is not a call's first is added wherever the stream ends."""

    def ends_with(self, stream: Stream, expected: StreamId) -> bool:
        return expected == ANYWHERE or super().ends_with(stream, expected)


ANYWHERE = StreamId(-1, -1)


async def unchained(
    self: scheduler.Streams, stream: str, pages: Iterable[Page], expected: StreamId
) -> list[Result]:
    calls = []
    for page in pages:
        calls.append(lambda page=page, expected=expected: self.redis.append(stream, page, expected))
        expected = ANYWHERE
    return await self.ask("append", *calls) if calls else []


def by_outbox_id(_: int, blocks: Iterable[Block]) -> list[Page]:
    return [Page(StreamId(0, b.last), b.rows, b.attempt, "0-", b.lines) for b in blocks]


def by_outbox_id_again(_: object, rows: Iterable[Row], after: StreamId) -> list[Page]:
    pages = [Page(StreamId(0, r.id), 1, r.attempt, "0-", f"{r.id} {r.envelope}\n".encode()) for r in rows]
    return sorted(page for page in pages if page.top > after)


ship_tick = Shipper.ship_tick


async def whole_or_not(self: Shipper, job: Job, blocks: Blocks | None) -> None:
    try:
        await ship_tick(self, job, blocks)
    except RedisError:
        job.ledger.in_doubt = False


quick = relay.quick.look_and_tick
sql_quick = sql.look_and_tick


async def quick_snapshot_from_before(
    conn: Connection, ledger: Ledger, keys: Keys, base: Snapshot
) -> Made | None:
    """The rows are what a look in front of the statement saw, the tick is the statement's."""
    found = await look(conn, base, ledger.floor.prove(base))
    made = await quick(conn, ledger, keys, base)
    blocks = found.part.blocks if found.part else []
    return made and made._replace(streams=by_stream(blocks, keys, ledger.placement))


async def quick_however_many(
    conn: Connection, head: sql.TickHead, wanted: sql.Wanted, slots: sql.Slots
) -> Any:
    """The tick is made, and no more blocks come with it than there may be rows; one says what was found."""
    return (await sql_quick(conn, head, replace(wanted, rows=2**31, size=2**31), slots))[
        : max(wanted.rows, 1)
    ]


sql_look = sql.look


async def snapshot_after_rows(*args: Any) -> Any:
    found, later = await sql_look(*args), await sql_look(*args)
    return [Record(**{**record, "seen": later[0]["seen"]}) for record in found]


async def without_late_commits(conn: Connection, wanted: sql.Wanted, slots: sql.Slots) -> Any:
    return await sql_look(conn, replace(wanted, xip=[]), slots)


async def quick_without_late_commits(
    conn: Connection, head: sql.TickHead, wanted: sql.Wanted, slots: sql.Slots
) -> Any:
    return await sql_quick(conn, head, replace(wanted, xip=[]), slots)


locate = relay.catch_up.locate


async def one_tick_late(conn: Connection, shipper: Shipper, stream: str, top: StreamId) -> int | None:
    number = await locate(conn, shipper, stream, top)
    return number and number + 1


async def all_is_droppable(_: Connection, __: Shipper, ledger: Ledger) -> Droppable:
    return Droppable(ledger.snapshot, 2**63 - 1)


def not_remembered(_: object) -> Placement:
    return UNSHARDED


async def heeded_at_once(conn: Connection, __: Shipper, ledger: Ledger) -> None:
    """What was looked for by the old number becomes a tick of the new one."""
    ledger.placement, _ = await next_placement(conn)


chunk_of = relay.catch_up.chunk_of


def by_the_last_number(ticks: list[Tick], first: int, _: str, rows: int, size: int) -> Chunk | None:
    return chunk_of(ticks, first, "no channel of that name", rows, size)


def out_of_use(keys: Keys, streams: Iterable[str], channels: Mapping[str, Shards]) -> list[str]:
    places = [(stream, keys.place(stream)) for stream in streams]
    return [stream for stream, place in places if place.shard >= channels[place.channel].shards]


async def never(*_: object) -> bool:
    return False


async def always(*_: object) -> bool:
    return True


def open_ones_forgotten(floor: Floor, ticked: Snapshot) -> int:
    if floor.below is not None and ticked.xmax >= floor.below:
        floor.id, floor.below = floor.drawn, None
    return floor.id


@contextmanager
def replaced(*places: tuple[object, str, object]) -> Any:
    with ExitStack() as stack:
        for owner, name, value in places:
            stack.enter_context(patch.object(owner, name, value))
        yield


RELAY_MUTANTS: dict[str, tuple[type[Redis], list[tuple[object, str, object]]]] = {
    "the stream's end is not compared": (Blind, []),
    "page two does not depend on page one": (Trusting, [(scheduler.Streams, "append", unchained)]),
    "ids by outbox id alone": (
        Redis,
        [
            (relay.ship, "of_tick", by_outbox_id),
            (relay.catch_up, "across_ticks", by_outbox_id_again),
            (relay.ship, "is_of_a_tick", always),
        ],
    ),
    "the snapshot is read after the rows": (Redis, [(sql, "look", snapshot_after_rows)]),
    "a quick tick's rows are read by another snapshot": (
        Redis,
        [(relay.relay, "look_and_tick", quick_snapshot_from_before)],
    ),
    "a quick tick is made although not all was read": (Redis, [(sql, "look_and_tick", quick_however_many)]),
    "a tick is made before the one before is whole": (Redis, [(Shipper, "ship_tick", whole_or_not)]),
    "what was in progress at the last tick is not read again": (
        Redis,
        [(sql, "look", without_late_commits), (sql, "look_and_tick", quick_without_late_commits)],
    ),
    "the floor rises above rows of open transactions": (Redis, [(Floor, "prove", open_ones_forgotten)]),
    "blocks that reach into each other go one after the other": (
        Redis,
        [(relay.entries, "in_order", lambda blocks: blocks)],
    ),
    "a refill begins one tick late": (Redis, [(relay.catch_up, "locate", one_tick_late)]),
    "old partitions go whatever the streams hold": (Redis, [(relay.relay, "verify", all_is_droppable)]),
    "nobody remembers by how many shards a tick was made": (
        Redis,
        [(relay.ledger, "placement_of", not_remembered)],
    ),
    "another number of shards holds for what was looked for already": (
        Redis,
        [(relay.relay, "heed", heeded_at_once)],
    ),
    "a refill takes all ticks for what the last one was": (
        Redis,
        [(relay.catch_up, "chunk_of", by_the_last_number)],
    ),
    "a shard's stream goes as soon as nothing new is put into it": (
        Redis,
        [(relay.reshard, "outlived", out_of_use)],
    ),
}


@pytest.mark.parametrize("name", RELAY_MUTANTS)
def test_p2_the_relays_machine_kills(name: str) -> None:
    streams, places = RELAY_MUTANTS[name]

    class Mutant(RelayMachine):
        redis = streams
        mechanism = False
        # A relay that starts would see some of what was passed over by itself, and stand still.
        planted = staticmethod(lambda: replaced(*places, (sql, "passed_over", never)))

    kills(Mutant, "P2", SOONER.get(name, 0))


# The wake-up


async def clear_after_look(_: str, step: Step, wake: asyncio.Event, stop: Stop) -> None:
    while not stop:
        pause = await step()
        wake.clear()
        if pause > 0:
            await wait(wake, pause)


class ByMvcc(WakeMachine):
    """The flag is a row of a table."""

    def flag_seen(self, producer: Producer) -> int | None:
        return producer.flag_in_snapshot


class TestedFirst(WakeMachine):
    """The flag is tested before the row's transaction has its id, as a BEFORE trigger would."""

    __test__ = False

    def begin_statement(self, connection: int, producer: Producer) -> None:
        super().end_statement(connection, producer)
        producer.in_statement = True

    def end_statement(self, connection: int, producer: Producer) -> None:
        notifies = producer.notifies
        super().begin_statement(connection, producer)
        producer.in_statement, producer.notifies = False, notifies


fell = Sleep.fell


def asleep_at_once(self: Sleep, at: Xid) -> None:
    fell(self, at)
    self.mode = Mode.ASLEEP


WAKE_MUTANTS: dict[str, tuple[type[WakeMachine], list[tuple[object, str, object]]]] = {
    "the wake-up is cleared after the look": (WakeMachine, [(wake_machine, "run_loop", clear_after_look)]),
    "the flag is read through MVCC": (ByMvcc, []),
    "the flag is tested before the transaction has its id": (TestedFirst, []),
    "the relay sleeps as soon as the flag says so": (WakeMachine, [(Sleep, "fell", asleep_at_once)]),
}


@pytest.mark.parametrize("name", WAKE_MUTANTS)
def test_i6_the_wake_ups_machine_kills(name: str) -> None:
    machine, places = WAKE_MUTANTS[name]

    class Mutant(machine):  # type: ignore[valid-type, misc]  # chosen by the table
        planted = staticmethod(lambda: replaced(*places))

    kills(Mutant, "I6", SOONER.get(name, 0))
