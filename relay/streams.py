"""Redis as the relay sees it: where each stream ends, and compare-and-append."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from relay.entries import ZERO, Entry, StreamId

SCRIPT = (Path(__file__).parent / "append.lua").read_text(encoding="utf-8")
PAGE = 1000  # entries a script call: some 5 ms of Redis' one thread


@dataclass(frozen=True, slots=True)
class Appended:
    """The stream ends with the last entry now, and is so long."""

    length: int


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Nothing was added: the stream ends here, not where it was expected to."""

    top: StreamId


@dataclass(frozen=True, slots=True)
class Refused:
    """Redis takes nothing for this stream: it is full, out of memory, or no stream at all."""

    why: str


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
        self._append = redis.register_script(SCRIPT)

    async def append(
        self, stream: str, entries: Sequence[Entry], expected: StreamId
    ) -> Appended | Elsewhere | Refused:
        """Add a page of entries, at most PAGE, if the stream ends with `expected`."""
        args: list[str] = [str(expected)]
        for entry in entries:
            args += (str(entry.id), entry.envelope, str(entry.attempt))
        try:
            done, answer = await self._append(keys=[stream], args=args)
        except ResponseError as error:  # of this key, or of all writes; the connection is fine
            return Refused(str(error).partition(" script:")[0])
        return Appended(answer) if done else Elsewhere(StreamId.parse(answer))

    async def state(self, stream: str) -> State:
        """Where a stream ends. A stream that is not there ends at zero."""
        try:
            info = await self.redis.xinfo_stream(stream)
        except ResponseError as error:
            return State(usable="no such key" in str(error))
        first = info["first-entry"]
        return State(
            top=StreamId.parse(info["last-generated-id"]),
            length=info["length"],
            first=StreamId.parse(first[0]) if first else None,
        )

    async def pending(self, stream: str) -> dict[str, int]:
        """Entries taken but not settled, by consumer group."""
        try:
            groups = await self.redis.xinfo_groups(stream)
        except ResponseError:
            return {}
        return {group["name"].decode(): group["pending"] for group in groups}

    async def delete(self, stream: str) -> None:
        await self.redis.delete(stream)
