"""Redis as the relay sees it: where each stream ends, and compare-and-append."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from outbox.nodes import ELSEWHERE, Nodes
from relay.entries import ZERO, Page, StreamId

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
    """The streams of one Redis, or of a cluster. Repeating a call is always safe: ids only ever grow."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes

    async def append(self, stream: str, pages: Iterable[Page], expected: StreamId) -> list[Result]:
        """Add pages of at most PAGE entries if the stream ends with `expected`. A result for each page.

        All are under way at once: Redis works on one while the next is being packed. Each expects the last id of the
        one before, so behind a page that was not added nothing is.
        """
        sent = []
        async with self._connection(stream) as connection:
            for page in pages:
                # By hiredis itself: redis-py packs in Python, which takes longer than all else the relay does.
                await connection.send_packed_command(pack_command(command(stream, page, expected)))  # type: ignore[arg-type]
                expected = page.top
                sent.append((page.entries, expected))
            return [await result(connection, *each) for each in sent]

    @asynccontextmanager
    async def _connection(self, stream: str) -> AsyncIterator[AbstractConnection]:
        """One to send on and to read from in turns. It is closed where answers may be left in it."""
        async with self.nodes.at(stream) as redis:
            pool = redis.connection_pool
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
        """Where each of them ends, in one round trip to each node however many there are."""
        found: dict[str, State] = {}
        for together in await self.nodes.grouped(streams):
            async with self.nodes.at(together[0]) as redis:
                pipeline = redis.pipeline(transaction=False)
                for stream in together:
                    pipeline.xinfo_stream(stream)
                answers = await pipeline.execute(raise_on_error=False)
                found |= zip(together, map(state_of, answers), strict=True)
        return [found[stream] for stream in streams]

    async def pending(self, stream: str) -> dict[str, int]:
        """Entries taken but not settled, by consumer group."""
        try:
            async with self.nodes.at(stream) as redis:
                groups = await redis.xinfo_groups(stream)
        except ResponseError:
            return {}
        return {group["name"].decode(): group["pending"] for group in groups}

    async def oldest_pending(self, stream: str, group: str) -> StreamId | None:
        """The oldest entry taken but not settled."""
        try:
            async with self.nodes.at(stream) as redis:
                found = (await redis.xpending(stream, group))["min"]
        except ResponseError:  # the stream, or the group, is gone meanwhile
            return None
        return StreamId.parse(found) if found else None

    async def delete(self, stream: str) -> None:
        async with self.nodes.at(stream) as redis:
            await redis.delete(stream)


def command(stream: str, page: Page, expected: StreamId) -> tuple[str | bytes, ...]:
    """One call of append.lua."""
    return "EVAL", SCRIPT, "1", stream, str(expected), str(page.attempt), page.begin, page.lines


def state_of(answer: Any) -> State:
    """From XINFO STREAM. Raises what is no answer of this key."""
    if isinstance(answer, ResponseError) and not isinstance(answer, ELSEWHERE):
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
    except ELSEWHERE:
        raise
    except ResponseError as error:  # of this key, or of all writes; the connection is fine
        return Refused(str(error).partition(" script:")[0])
    return Appended(entries, top, answer) if done else Elsewhere(StreamId.parse(answer))
