"""The machine: hypothesis chooses who does what next, and what goes wrong."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.relay.model.postgres import CHANNELS
from tests.relay.model.redis import Redis
from tests.relay.model.scheduler import Outcome, Process
from tests.relay.model.world import QUICK_ROWS, World, in_relay, taken_out

CONNECTIONS = st.integers(0, 3)
PICKS = st.integers(0, 5)
MOMENTS = ("look", "insert_tick", "look_and_tick", "append", "state", "unsettled_rows", "placement")
# Channels, priority, size and number of attempts of a row.
Shape = tuple[list[str], str, int, int]
SHAPES = st.tuples(
    st.sampled_from([["a"], ["b"], ["a", "b"]]),
    st.sampled_from(["normal", "normal", "bulk"]),
    st.sampled_from([1, 1, 5]),
    st.sampled_from([0, 0, 0, 1]),
)
ROWS = st.lists(SHAPES, min_size=1, max_size=4)


class RelayMachine(RuleBasedStateMachine):
    """For mutants: `redis` and `mechanism` as World takes them, `planted` as contextlib's nullcontext."""

    redis: type[Redis] = Redis
    mechanism = True
    planted: Callable[[], AbstractContextManager[object]] = nullcontext

    def __init__(self) -> None:
        super().__init__()
        self.world = World(redis=self.redis, mechanism=self.mechanism)
        self.postgres, self.scheduler = self.world.postgres, self.world.scheduler
        self.stack = ExitStack()
        self.stack.callback(self.world.close)
        self.stack.enter_context(taken_out(self.world))
        self.stack.enter_context(type(self).planted())

    @initialize(count=st.integers(1, 3), quick_rows=st.integers(0, QUICK_ROWS))
    def start(self, count: int, quick_rows: int = QUICK_ROWS) -> None:
        """The fewer rows are for one statement, the more often a tick is looked for first and then made."""
        self.stack.enter_context(in_relay(QUICK_ROWS=quick_rows))
        for _ in range(count):
            self.world.start_relay()

    def relay(self, pick: int) -> Process:
        return self.world.relays[pick % len(self.world.relays)]

    # Producers

    @rule(connection=CONNECTIONS, rows=ROWS)
    def write(self, connection: int, rows: list[Shape]) -> None:
        for shape in rows:
            self.postgres.insert(connection, *shape)

    @rule(connection=CONNECTIONS, rows=ROWS)
    def write_and_commit(self, connection: int, rows: list[Shape]) -> None:
        self.write(connection, rows)
        self.end(connection, commit=True)

    @precondition(lambda self: self.postgres.open)
    @rule(pick=PICKS, commit=st.booleans())
    def end_one(self, pick: int, commit: bool) -> None:
        self.end(list(self.postgres.open)[pick % len(self.postgres.open)], commit=commit)

    def end(self, connection: int, *, commit: bool) -> None:
        self.world.audit.committed(self.postgres.end(connection, commit=commit))

    @rule(connection=CONNECTIONS, back=st.booleans())
    def savepoint(self, connection: int, back: bool) -> None:
        if not back:
            self.postgres.savepoint(connection)
        elif connection in self.postgres.open and self.postgres.open[connection].savepoints:
            self.postgres.roll_back_to_savepoint(connection)

    @rule(channel=st.sampled_from(CHANNELS), shards=st.sampled_from([1, 2, 4]))
    def reshard(self, channel: str, shards: int) -> None:
        """Somebody wants more streams, or fewer. Each relay hears of it when it verifies, or loads."""
        self.postgres.shards[channel] = shards

    # Relays

    @rule(relay=PICKS, picks=st.lists(PICKS, min_size=1, max_size=15))
    def run(self, relay: int, picks: list[int]) -> None:
        process = self.relay(relay)
        for pick in picks:
            self.world.run(process, pick)

    @rule(relay=PICKS, what=st.sampled_from(MOMENTS))
    def run_up_to(self, relay: int, what: str) -> None:
        """To the moment before a call that much depends on; past it where it waits already."""
        process = self.relay(relay)
        for _ in range(25):
            self.world.run(process, 0)
            if any(call.what == what for call in self.scheduler.of(process)):
                return

    @rule(relay=PICKS, what=st.sampled_from(MOMENTS), connection=CONNECTIONS, rows=ROWS)
    def commit_after(self, relay: int, what: str, connection: int, rows: list[Shape]) -> None:
        """Between such a call and whatever this relay does next."""
        self.run_up_to(relay, what)
        self.world.run(self.relay(relay), 0)
        self.write_and_commit(connection, rows)

    @rule(relay=PICKS, name=st.sampled_from(["step", "step", "verify", "upkeep"]))
    def whole(self, relay: int, name: str) -> None:
        self.world.whole(self.relay(relay), name)

    @rule(relay=PICKS, name=st.sampled_from(["verify", "upkeep"]))
    def begin(self, relay: int, name: str) -> None:
        process = self.relay(relay)
        process.begin(name, {"verify": process.relay.verify, "upkeep": process.upkeep.step}[name])
        self.world.collect(process)

    @precondition(lambda self: self.scheduler.pending)
    @rule(pick=PICKS, outcome=st.sampled_from(Outcome))
    def disturb(self, pick: int, outcome: Outcome) -> None:
        call = self.scheduler.pending[pick % len(self.scheduler.pending)]
        self.scheduler.disturb(call, outcome)
        self.world.collect(call.process)

    @rule(relay=PICKS)
    def kill(self, relay: int) -> None:
        self.world.kill(self.relay(relay))
        self.world.start_relay()

    @precondition(lambda self: self.scheduler.adrift)
    @rule(pick=PICKS)
    def drift(self, pick: int) -> None:
        self.scheduler.drift(self.scheduler.adrift[pick % len(self.scheduler.adrift)])

    # Consumers, Redis, time

    @precondition(lambda self: any(stream.entries for stream in self.world.redis.streams.values()))
    @rule(stream=PICKS, picks=st.lists(PICKS, min_size=1, max_size=6), delete=st.booleans())
    def settle(self, stream: int, picks: list[int], delete: bool) -> None:
        name = self.stream(stream)
        for pick in picks:
            if self.world.redis.get(name).entries:
                self.world.settle(name, pick, delete=delete)

    def stream(self, pick: int) -> str:
        names = sorted(self.world.redis.streams)
        return names[pick % len(names)]

    @precondition(lambda self: self.world.redis.streams)
    @rule(
        kind=st.sampled_from(["flush", "lose tail", "delete", "trim", "full", "spoil", "outside"]),
        stream=PICKS,
        count=st.integers(1, 8),
    )
    def harm_redis(self, kind: str, stream: int, count: int) -> None:
        redis, name = self.world.redis, self.stream(stream)
        match kind:
            case "flush":
                redis.flush()
            case "lose tail":
                redis.lose_tail(min(count, len(redis.past)))
            case "delete":
                redis.delete(name)
            case "trim":
                gone = redis.remove(name, first=0, count=count)
                self.world.audit.written_off |= {(row, name) for _, row in gone}
            case "full":
                redis.full = not redis.full
            case "spoil":
                redis.spoil(name)
            case "outside":
                redis.add_from_outside(name)

    @rule(
        seconds=st.sampled_from([0.1, 4.0, 20.0]), jump=st.sampled_from([0, 1, 50, -500]), free=st.booleans()
    )
    def time(self, seconds: float, jump: int, free: bool) -> None:
        """Both clocks move, the wall clock at will; the lease may run out under its holder."""
        self.world.loop.now += seconds
        self.postgres.clock_ms = max(1, self.postgres.clock_ms + jump)
        if free and self.postgres.lease:
            self.postgres.lease = (*self.postgres.lease[:2], 0.0)

    # Judgement

    @invariant()
    def holds(self) -> None:
        self.world.audit.holds()

    def teardown(self) -> None:
        with self.stack:
            if sys.exception() is None:
                self.world.come_to_rest()
                self.world.audit.at_rest()
