"""Redis as the relay sees it: where each stream ends, and compare-and-append."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from relay.entries import ZERO, Entry, StreamId

SCRIPT = (Path(__file__).parent / "append.lua").read_text(encoding="utf-8")
PAGE = 500  # entries a script call: some 5 ms of Redis' one thread


@dataclass(frozen=True, slots=True)
class Appended:
    """So many entries are there now; the stream ends with the last of them, and is so long."""

    entries: int
    top: StreamId
    length: int


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Nothing was added: the stream ends here, not where it was expected to."""

    top: StreamId


@dataclass(frozen=True, slots=True)
class Refused:
    """Redis takes nothing for this stream: it is full, out of memory, or no stream at all."""

    why: str


Result = Appended | Elsewhere | Refused


@dataclass(frozen=True, slots=True)
class State:
    """A stream's end, length and oldest entry; `usable` is False where the key holds something else."""

    top: StreamId = ZERO
    length: int = 0
    first: StreamId | None = None
    usable: bool = True


class Streams:
    """The streams of one Redis. Repeating a call is always safe: ids only ever grow."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def append(self, stream: str, pages: Iterable[Sequence[Entry]], expected: StreamId) -> list[Result]:
        """Add pages of at most PAGE entries, each of one attempt number, if the stream ends with `expected`. A result
        for each page.

        All are under way at once: Redis works on one while the next is being packed. Each expects the last id of the
        one before, so behind a page that was not added nothing is.
        """
        sent = []
        async with self._connection() as connection:
            for page in pages:
                # By hiredis itself: redis-py packs in Python, which takes longer than all else the relay does.
                await connection.send_packed_command(pack_command(command(stream, page, expected)))  # type: ignore[arg-type]
                expected = page[-1].id
                sent.append((len(page), expected))
            return [await result(connection, *each) for each in sent]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AbstractConnection]:
        """One to send on and to read from in turns. It is closed where answers may be left in it."""
        pool = self.redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            yield connection
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)

    async def state(self, stream: str) -> State:
        """Where a stream ends. A stream that is not there ends at zero."""
        [state] = await self.states([stream])
        return state

    async def states(self, streams: Sequence[str]) -> list[State]:
        """Where each of them ends, in one round trip however many there are."""
        pipeline = self.redis.pipeline(transaction=False)
        for stream in streams:
            pipeline.xinfo_stream(stream)
        return [state_of(answer) for answer in await pipeline.execute(raise_on_error=False)]

    async def pending(self, stream: str) -> dict[str, int]:
        """Entries taken but not settled, by consumer group."""
        try:
            groups = await self.redis.xinfo_groups(stream)
        except ResponseError:
            return {}
        return {group["name"].decode(): group["pending"] for group in groups}

    async def delete(self, stream: str) -> None:
        await self.redis.delete(stream)


def command(stream: str, page: Sequence[Entry], expected: StreamId) -> tuple[str, ...]:
    """One call of append.lua."""
    args = ["EVAL", SCRIPT, "1", stream, str(expected), str(page[0].attempt)]
    for (ms, row), envelope, _ in page:
        args += (f"{ms}-{row}", envelope)
    return tuple(args)


def state_of(answer: Any) -> State:
    """From XINFO STREAM. Raises what is no answer of this key."""
    if isinstance(answer, ResponseError):
        return State(usable="no such key" in str(answer))
    if isinstance(answer, Exception):
        raise answer
    first = answer["first-entry"]
    return State(
        top=StreamId.parse(answer["last-generated-id"]),
        length=answer["length"],
        first=StreamId.parse(first[0]) if first else None,
    )


async def result(connection: AbstractConnection, entries: int, top: StreamId) -> Result:
    try:
        done, answer = await connection.read_response()
    except ResponseError as error:  # of this key, or of all writes; the connection is fine
        return Refused(str(error).partition(" script:")[0])
    return Appended(entries, top, answer) if done else Elsewhere(StreamId.parse(answer))
