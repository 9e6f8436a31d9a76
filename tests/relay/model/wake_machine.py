"""The second machine: whoever commits while the relay sleeps must wake it (I6).

The real loop (outbox.service.run_loop), the real step and the real Sleep run against the model; a slow poll, a lease's
renewal or anything else by the clock is further away than the machine ever waits. A producer's statement takes its
transaction id when it begins, tests the flag when it ends and notifies at its commit if the flag said so.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from outbox.service import Stop, run_loop
from relay.wake import AWAKE_FLAG, Mode
from tests.relay.model.audit import BrokenError
from tests.relay.model.machine import PICKS
from tests.relay.model.scheduler import Process
from tests.relay.model.world import SETTINGS, World, taken_out

NEVER = 10.0**6
PATIENT = SETTINGS.model_copy(update={"relay_poll": NEVER, "relay_lease": 4 * NEVER})
ISOLATION = ("read committed", "repeatable read", "serializable")
CONNECTIONS = range(3)


@dataclass(slots=True)
class Producer:
    """One open transaction."""

    isolation: str
    flag_in_snapshot: int | None = None  # as a table would have shown it
    in_statement: bool = False
    notifies: bool = False
    rows: list[int] = field(default_factory=list)


class WakeMachine(RuleBasedStateMachine):
    planted: Callable[[], AbstractContextManager[object]] = nullcontext

    def __init__(self) -> None:
        super().__init__()
        self.world = World(PATIENT, mechanism=False)
        self.stack = ExitStack()
        self.stack.callback(self.world.close)
        self.stack.enter_context(taken_out(self.world))
        self.stack.enter_context(type(self).planted())
        self.producers: dict[int, Producer] = {}
        self.notifications = 0  # committed, not heard yet

    @initialize()
    def start(self) -> None:
        self.wake, self.stop = asyncio.Event(), Stop()
        self.process = self.world.start_relay()
        self.process.begin("loop", lambda: self.loop(self.process))

    async def loop(self, process: Process) -> None:
        await run_loop("relay", process.relay.step, self.wake, self.stop)

    # Producers

    @rule(connection=st.sampled_from(CONNECTIONS), isolation=st.sampled_from(ISOLATION))
    def begin(self, connection: int, isolation: str) -> None:
        """With a first statement that has nothing to do with notifications, and fixes the snapshot."""
        if connection not in self.producers:
            self.producers[connection] = Producer(isolation, flag_in_snapshot=self.world.postgres.flag)

    @precondition(lambda self: self.producers)
    @rule(pick=PICKS, through=st.booleans())
    def go_on(self, pick: int, through: bool) -> None:
        """A statement begins, or ends; or all that is left to do up to the commit is done."""
        connection = list(self.producers)[pick % len(self.producers)]
        producer = self.producers[connection]
        if not producer.in_statement:
            self.begin_statement(connection, producer)
            if not through:
                return
        self.end_statement(connection, producer)
        if through:
            self.finish(connection, commit=True)

    def begin_statement(self, connection: int, producer: Producer) -> None:
        producer.in_statement = True
        if producer.isolation == "read committed":
            producer.flag_in_snapshot = self.world.postgres.flag
        self.world.postgres.insert(connection, ["a"], "normal", 1, 0)

    def end_statement(self, _: int, producer: Producer) -> None:
        producer.in_statement = False
        producer.notifies |= self.flag_seen(producer) != AWAKE_FLAG

    def flag_seen(self, _: Producer) -> int | None:
        """A sequence is read outside MVCC: what the relay set last."""
        return self.world.postgres.flag

    @precondition(lambda self: any(not each.in_statement for each in self.producers.values()))
    @rule(pick=PICKS, commit=st.sampled_from([True, True, False]))
    def end(self, pick: int, commit: bool) -> None:
        ready = [connection for connection, each in self.producers.items() if not each.in_statement]
        self.finish(ready[pick % len(ready)], commit=commit)

    def finish(self, connection: int, *, commit: bool) -> None:
        producer = self.producers.pop(connection)
        if connection not in self.world.postgres.open:
            return
        self.world.audit.committed(self.world.postgres.end(connection, commit=commit))
        self.notifications += commit and producer.notifies

    @rule(connection=st.sampled_from(CONNECTIONS), isolation=st.sampled_from(ISOLATION), heard=st.booleans())
    def insert_and_commit(self, connection: int, isolation: str, heard: bool) -> None:
        if connection in self.producers:
            return
        self.begin(connection, isolation)
        self.begin_statement(connection, self.producers[connection])
        self.end_statement(connection, self.producers[connection])
        self.finish(connection, commit=True)
        if heard and self.notifications:
            self.hear()

    # The relay, its ears, its clock

    @rule(calls=st.integers(1, 12))
    def run(self, calls: int) -> None:
        for _ in range(calls):
            if waiting := self.world.scheduler.of(self.process):
                self.world.scheduler.perform(waiting[0])

    @precondition(lambda self: self.notifications)
    @rule()
    def hear(self) -> None:
        """One wake-up or many: an event is set."""
        self.notifications = 0
        self.wake.set()
        self.world.loop.until_idle()

    @rule(calls=st.integers(0, 3))
    def lose_listener(self, calls: int) -> None:
        """What was on its way is lost; the listener comes back with a wake-up of its own, and a look begins."""
        self.hear()
        self.run(calls)

    @rule(seconds=st.sampled_from([0.002, 0.03, 0.15]))
    def wait(self, seconds: float) -> None:
        self.world.loop.now += seconds
        self.world.loop.until_idle()

    @rule()
    def wait_long(self) -> None:
        """Long enough to fall asleep, for a relay that may."""
        for _ in range(4):
            self.answer_all()
            self.wait(0.15)

    def answer_all(self) -> None:
        while waiting := self.world.scheduler.of(self.process):
            self.world.scheduler.perform(waiting[0])

    @rule()
    def kill(self) -> None:
        self.world.kill(self.process)
        if self.world.postgres.lease:
            self.world.postgres.lease = (*self.world.postgres.lease[:2], 0.0)
        self.start()

    # Judgement

    @invariant()
    def nobody_waits_for_the_poll(self) -> None:
        """Asleep, nothing under way and nothing to hear: then there is nothing to find."""
        quiet = not (self.world.scheduler.of(self.process) or self.notifications or self.wake.is_set())
        if quiet and self.process.relay.mode is Mode.ASLEEP:
            self.demand_all_seen()

    def demand_all_seen(self) -> None:
        unseen = [row for row in self.world.audit.rows if row not in self.world.audit.tick_of]
        if unseen:
            raise BrokenError(f"I6: rows {unseen} wait for the slow poll")

    def teardown(self) -> None:
        with self.stack:
            if sys.exception() is None:
                self.come_to_rest()

    def come_to_rest(self) -> None:
        """Everyone finishes, bar those who hold a transaction open; no commit may wait for the slow poll."""
        for connection, producer in list(self.producers.items()):
            if producer.in_statement:
                self.end_statement(connection, producer)
            if connection:
                self.finish(connection, commit=True)
        for _ in range(40):
            if self.notifications:
                self.hear()
            self.answer_all()
            self.wait(0.15)
        self.demand_all_seen()
