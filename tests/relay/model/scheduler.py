"""Relay processes whose every call to Postgres or Redis waits until somebody lets it happen.

The code that runs is the relay's own. A call is parked with its effect; whoever holds the scheduler performs it,
loses its reply, fails it, lets it happen later, or kills the process that made it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Any

import asyncpg
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from db import relay as sql
from db import shards
from db.pool import OUTAGES
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay.entries import Page, StreamId
from relay.main import build
from relay.relay import Relay
from relay.streams import Result, State
from relay.upkeep import Upkeep
from tests.relay.model.loop import StillLoop
from tests.relay.model.postgres import Postgres, Record, Records
from tests.relay.model.redis import Redis

NAMES = {text: name for name, text in (sql.SQL | shards.SQL).items()}
FLAGS = {sql.SQL["set_flag"].replace("$1", str(value)): value for value in (1, 2)}
CLIENT = Nodes("redis://model")  # what build() wants; nothing is ever asked of it
CURRENT: ContextVar["Process"] = ContextVar("process")


class Outcome(Enum):
    """What may become of a call but a reply."""

    REPLY_LOST = auto()  # it happened; its caller cannot know
    NOT_DONE = auto()
    DONE_LATER = auto()  # its caller is told of an error; it happens all the same, at some moment
    SENT_TWICE = auto()  # a client library tried again by itself: the second reply counts


@dataclass(eq=False, slots=True)
class Call:
    """One round trip: effects in order (a pipeline has several), and who waits for what they answer."""

    process: "Process"
    what: str
    effects: list[Callable[[], Any]]
    lost: Callable[[], Exception]
    reply: asyncio.Future[list[Any]]
    done: list[Any] = field(default_factory=list)

    @property
    def awaited(self) -> bool:
        return not self.reply.done()

    def advance(self) -> bool:
        """Let the next of its effects happen. Whether it was the last."""
        try:
            self.done.append(self.effects[len(self.done)]())
        except asyncpg.PostgresError as error:
            if self.awaited:
                self.reply.set_exception(error)
            return True
        if len(self.done) < len(self.effects):
            return False
        if self.awaited:
            self.reply.set_result(self.done)
        return True


class Scheduler:
    """The processes' only way out. `pending` is awaited by someone, `adrift` happens to nobody's knowledge."""

    def __init__(self, loop: StillLoop, settings: Settings, postgres: Postgres, streams: Redis) -> None:
        self.loop, self.settings, self.postgres, self.redis = loop, settings, postgres, streams
        self.pending: list[Call] = []
        self.adrift: list[Call] = []

    def start(self, name: str) -> "Process":
        return Process(self, name)

    def of(self, process: "Process") -> list[Call]:
        return [call for call in self.pending if call.process is process]

    def perform(self, call: Call) -> None:
        if call.advance():
            self.pending.remove(call)
            self.loop.until_idle()

    def disturb(self, call: Call, outcome: Outcome) -> None:
        """None of it, or what is left of it, as the outcome says."""
        match outcome:
            case Outcome.REPLY_LOST:
                finish(call.effects[len(call.done) :])
            case Outcome.DONE_LATER:
                self.adrift.append(call)
            case Outcome.SENT_TWICE:
                finish(call.effects[len(call.done) :])
                call.done.clear()
                while not call.advance():
                    pass
            case Outcome.NOT_DONE:
                pass
        if call.awaited:
            call.reply.set_exception(call.lost())
        self.pending.remove(call)
        self.loop.until_idle()

    def drift(self, call: Call) -> None:
        if call.advance():
            self.adrift.remove(call)

    def kill(self, process: "Process") -> None:
        """Between two instructions; what it has sent may still arrive."""
        for call in self.of(process):
            self.pending.remove(call)
            self.adrift.append(call)
        process.stop()
        self.loop.until_idle()


def finish(effects: Sequence[Callable[[], Any]]) -> None:
    for effect in effects:
        try:
            effect()
        except asyncpg.PostgresError:
            return


class Process:
    """One relay process: the real Relay and Upkeep, with doors to the models."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.relay: Relay = build(scheduler.settings, CLIENT)
        self.relay.lead.holder = name
        self.relay.shipper.streams = Streams(self)  # type: ignore[assignment]  # stands in for relay.streams.Streams
        settings = scheduler.settings
        self.upkeep = Upkeep(self.relay, settings.database, settings.partition_rows, settings.retention)
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.alive = True

    def begin(self, name: str, main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Start one of its loops' steps, unless it is under way."""
        if name in self.tasks and not self.tasks[name].done():
            return
        context = copy_context()
        context.run(CURRENT.set, self)
        self.tasks[name] = self.scheduler.loop.create_task(main(), context=context)
        self.scheduler.loop.until_idle()

    def busy(self, name: str) -> bool:
        return name in self.tasks and not self.tasks[name].done()

    def outcome(self, name: str) -> Any:
        """What a step came to; None after an outage, which its loop would log and try again after. Raises
        what no outage explains: a bug."""
        task = self.tasks.pop(name)
        error = task.exception()
        if error is not None and not isinstance(error, (*OUTAGES, RedisError)):
            raise error
        return task.result() if error is None else None

    def stop(self) -> None:
        self.alive = False
        for task in self.tasks.values():
            task.cancel()
        self.tasks.clear()

    async def call(
        self, what: str, effects: list[Callable[[], Any]], lost: Callable[[], Exception]
    ) -> list[Any]:
        reply: asyncio.Future[list[Any]] = self.scheduler.loop.create_future()
        if not self.alive:
            await reply  # for ever
        self.scheduler.pending.append(Call(self, what, effects, lost, reply))
        return await reply


class Connection:
    """Stands in for asyncpg's: knows a statement by its text, and runs one at a time, as that one does."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.closed = False
        self.at_work = False

    async def ask(self, text: str, args: Sequence[Any]) -> Records:
        if self.closed:
            raise asyncpg.InterfaceError("connection is closed")
        assert not self.at_work, "two statements at once on one connection"
        self.at_work = True
        try:
            (records,) = await self.process.call(named(text), [self.effect(text, args)], ConnectionResetError)
        except ConnectionResetError:
            self.closed = True
            raise
        finally:
            self.at_work = False
        result: Records = records
        return result

    def effect(self, text: str, args: Sequence[Any]) -> Callable[[], Records]:
        postgres = self.process.scheduler.postgres
        if text in FLAGS:
            return lambda: postgres.set_flag(FLAGS[text])
        statement = getattr(postgres, NAMES[text])
        return lambda: statement(*args)

    async def fetch(self, text: str, *args: Any) -> Records:
        return await self.ask(text, args)

    async def fetchrow(self, text: str, *args: Any) -> Record | None:
        records = await self.ask(text, args)
        return records[0] if records else None

    async def fetchval(self, text: str, *args: Any) -> Any:
        records = await self.ask(text, args)
        return records[0][0] if records else None

    async def execute(self, text: str, *args: Any) -> str:
        return f"DONE {len(await self.ask(text, args))}"

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True

    async def close(self) -> None:
        self.closed = True


def named(text: str) -> str:
    return "set_flag" if text in FLAGS else NAMES[text]


async def connect(*_: Any, **__: Any) -> Connection:
    """Stands in for db.pool.connect."""
    process = CURRENT.get()
    await process.call("connect", [lambda: None], ConnectionResetError)
    return Connection(process)


class Streams:
    """Stands in for relay.streams.Streams."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @property
    def redis(self) -> Redis:
        return self.process.scheduler.redis

    async def ask(self, what: str, *effects: Callable[[], Any]) -> list[Any]:
        return await self.process.call(what, list(effects), RedisConnectionError)

    async def append(self, stream: str, pages: Iterable[Page], expected: StreamId) -> list[Result]:
        """A script call a page, all sent at once, each expecting the last id of the one before."""
        sent = []
        for page in pages:
            sent.append(partial(self.redis.append, stream, page, expected))
            expected = page.top
        return await self.ask("append", *sent) if sent else []

    async def state(self, stream: str) -> State:
        (state,) = await self.states([stream])
        return state

    async def states(self, streams: Sequence[str]) -> list[State]:
        return (
            await self.ask("state", *(partial(self.redis.state, each) for each in streams)) if streams else []
        )

    async def delete(self, stream: str) -> None:
        await self.ask("delete", lambda: self.redis.delete(stream))
