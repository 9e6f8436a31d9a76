"""Postgres, Redis and a few relays in one place, with everything of the outside taken out of the relay's modules."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from unittest.mock import patch

import structlog

from outbox.settings import Settings
from tests.relay.model.audit import Audit
from tests.relay.model.loop import StillLoop
from tests.relay.model.postgres import Postgres
from tests.relay.model.redis import Redis
from tests.relay.model.scheduler import Process, Scheduler, connect

SETTINGS = Settings(
    DATABASE_URL="postgresql://model",
    REDIS_URL="redis://model",
    jwt_secret="x" * 32,
    stream_max_length=10,
    partition_rows=8,
    retention=timedelta(days=3),
)
TICK_ROWS, TICK_BYTES, QUICK_ROWS = 3, 12, 2
SMALL = {
    "TICK_ROWS": TICK_ROWS,
    "TICK_BYTES": TICK_BYTES,
    "QUICK_ROWS": QUICK_ROWS,
    "QUICK_BYTES": 6,
    "PROMOTE": 10,
}
SILENT = structlog.wrap_logger(structlog.ReturnLogger(), processors=[structlog.processors.JSONRenderer()])
ENOUGH = 4_000  # calls until all must be at rest


class World:
    """`settings` replaces the usual ones; `redis` is a class, for mutants."""

    def __init__(
        self, settings: Settings = SETTINGS, redis: type[Redis] = Redis, *, mechanism: bool = True
    ) -> None:
        self.loop = StillLoop()
        self.postgres = Postgres(self.loop.time, settings.partition_rows)
        self.redis = redis()
        self.audit = Audit(self.postgres, self.redis, settings.keys, mechanism=mechanism)
        self.scheduler = Scheduler(self.loop, settings, self.postgres, self.redis)
        self.relays: list[Process] = []
        self.started = 0

    def close(self) -> None:
        for process in self.relays:
            process.stop()
        self.loop.stop_all()

    def start_relay(self) -> Process:
        self.started += 1
        process = self.scheduler.start(f"relay {self.started}")
        self.relays.append(process)
        return process

    def kill(self, process: Process) -> None:
        self.scheduler.kill(process)
        self.relays.remove(process)

    # Progress

    def finished(self, process: Process, name: str) -> object:
        """What a step came to, once it has ended."""
        return None if process.busy(name) or name not in process.tasks else process.outcome(name)

    def run(self, process: Process, pick: int) -> None:
        """One call of this process, or the beginning of its next step."""
        if calls := self.scheduler.of(process):
            self.scheduler.perform(calls[pick % len(calls)])
        else:
            process.begin("step", process.relay.step)
        self.collect(process)

    def collect(self, process: Process) -> None:
        for name in list(process.tasks):
            self.finished(process, name)

    def whole(self, process: Process, name: str) -> object:
        """Let this process do one thing from beginning to end, with nobody in between."""
        main = {"step": process.relay.step, "verify": process.relay.verify, "upkeep": process.upkeep.step}[
            name
        ]
        process.begin(name, main)
        for _ in range(ENOUGH):
            if not process.busy(name):
                return self.finished(process, name)
            self.scheduler.perform(self.scheduler.of(process)[0])
            for other in set(process.tasks) - {name}:
                self.finished(process, other)
        raise AssertionError(f"{name} does not end")

    def come_to_rest(self) -> None:
        """No more faults; consumers take what they find; the relays run until none has anything to do."""
        self.redis.full = False
        for name in [name for name, stream in self.redis.streams.items() if not stream.usable]:
            self.redis.delete(name)
        while self.scheduler.adrift:
            self.scheduler.drift(self.scheduler.adrift[0])
        if not self.relays:
            self.start_relay()
        for _ in range(100):
            self.loop.now += 4  # a third of the lease
            working = [self.has_work(process) for process in self.relays]
            if not any(working) and any(process.relay.lead.epoch for process in self.relays):
                return
            self.audit.holds()
            self.consume()
        raise AssertionError("the relays do not come to rest")

    def has_work(self, process: Process) -> bool:
        before = process.relay.ledger, self.postgres.ticks.copy(), self.redis.streams
        verified = self.whole(process, "verify")
        self.whole(process, "step")
        ledger = process.relay.ledger
        unfinished = ledger is not None and (ledger.behind or ledger.in_doubt or ledger.stale)
        after = ledger, self.postgres.ticks, self.redis.streams  # a ledger just loaded is verified next time
        changed = before[0] is not after[0] or before[1:] != after[1:]
        return verified is not False or bool(unfinished) or changed

    def consume(self) -> None:
        """Make room where a stream is full."""
        for name, stream in self.redis.streams.items():
            if len(stream.entries) > SETTINGS.stream_max_length // 2:
                self.settle(name, 0, delete=True)
                self.settle(name, 0, delete=True)

    def settle(self, name: str, index: int, *, delete: bool) -> None:
        """A worker is done with an entry; it may die before it deletes it."""
        entries = self.redis.get(name).entries
        _, row = entries[index % len(entries)]
        self.postgres.settled.add((row, SETTINGS.keys.place(name).channel))
        if delete:
            self.redis.remove(name, first=index % len(entries))


def taken_out(world: World) -> AbstractContextManager[None]:
    """The relay's modules with the world's clock, small pages, the model's connections, and without logs."""
    return in_relay(monotonic=world.loop.time, connect=connect, log=SILENT, **SMALL)


@contextmanager
def in_relay(**values: object) -> Iterator[None]:
    """All of the relay's modules with these values for what they know by these names."""
    modules = [module for name, module in sys.modules.items() if name.startswith("relay.")]
    with ExitStack() as stack:
        for module in modules:
            for name in values.keys() & vars(module).keys():
                stack.enter_context(patch.object(module, name, values[name]))
        yield
