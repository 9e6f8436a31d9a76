"""The relay, and its wake-up, under every interleaving hypothesis can think of.

MODEL_EXAMPLES=20000 looks for longer (nightly). What was found once is a scenario below.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.relay.model.machine import RelayMachine
from tests.relay.model.scheduler import Outcome
from tests.relay.model.wake_machine import WakeMachine

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "150"))
PROFILE = settings(
    max_examples=EXAMPLES, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
LONG = pytest.mark.timeout(max(300, EXAMPLES))

TestRelay = LONG(RelayMachine.TestCase)
TestRelay.settings = PROFILE
TestWakeUp = LONG(WakeMachine.TestCase)
TestWakeUp.settings = PROFILE

ROW = (["a"], "normal", 1, 0)


def test_p3_a_flush_between_two_chunks_of_a_refill_is_noticed() -> None:
    """Where the refill got to was remembered, and not where the stream ended then."""
    machine = RelayMachine()
    machine.start(count=1)
    for _ in range(3):
        machine.write_and_commit(0, [ROW] * 3)
        machine.whole(0, "step")
    machine.world.redis.flush()
    machine.whole(0, "verify")
    machine.whole(0, "step")  # the first chunk
    assert machine.world.redis.streams
    machine.world.redis.flush()
    machine.whole(0, "step")
    machine.holds()
    machine.teardown()


def test_p3_a_flush_while_a_refill_looks_for_its_place_is_noticed() -> None:
    machine = RelayMachine()
    machine.start(count=1)
    for _ in range(2):
        machine.write_and_commit(0, [ROW] * 3)
        machine.whole(0, "step")
    machine.world.redis.lose_tail(1)
    machine.whole(0, "verify")
    machine.run_up_to(0, "tick_at")
    machine.world.redis.flush()
    machine.whole(0, "step")
    machine.holds()
    machine.teardown()


def test_i4_a_tick_shipped_again_leaves_out_what_this_relay_has_appended() -> None:
    """One stream's append failed, the other's had not: that one was refused and called behind for nothing."""
    machine = RelayMachine()
    machine.start(count=1)
    machine.write_and_commit(0, [(["a", "b"], "normal", 1, 0)])
    machine.run_up_to(0, "append")
    first, second = machine.scheduler.pending
    machine.scheduler.perform(first)
    machine.scheduler.disturb(second, Outcome.NOT_DONE)
    machine.world.collect(machine.relay(0))
    machine.whole(0, "step")
    machine.teardown()
