"""A model of Redis streams: explicit ids, a last-generated-id that deletions leave alone, compare-and-append.

A state is a value, so a lost tail is a step back.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from relay.entries import ZERO, Page, StreamId
from relay.streams import Appended, Elsewhere, Refused, Result, State

Entry = tuple[StreamId, int]  # entry id, outbox id
Log = tuple[Entry, ...]
OUTSIDE = 0  # in place of an outbox id: an entry that no relay made


@dataclass(frozen=True, slots=True)
class Stream:
    """`entries` is what is there, `log` all that was ever added since the key was made."""

    top: StreamId = ZERO
    entries: Log = ()
    log: Log = ()
    usable: bool = True  # False: the key holds something else


EMPTY = Stream()


class Redis:
    def __init__(self) -> None:
        self.streams: dict[str, Stream] = {}
        self.past: list[dict[str, Stream]] = []
        self.full = False  # at maxmemory: refuses every write
        self.on_add: Callable[[str, Stream, Entry], None] = lambda *_: None

    def get(self, name: str) -> Stream:
        return self.streams.get(name, EMPTY)

    def put(self, name: str, stream: Stream | None) -> None:
        self.past.append(self.streams)
        self.streams = {**self.streams, name: stream} if stream else without(self.streams, name)

    # What the relay calls (relay/append.lua, XINFO STREAM, DEL)

    def append(self, name: str, page: Page, expected: StreamId) -> Result:
        stream = self.get(name)
        if not stream.usable:
            return Refused("WRONGTYPE")
        if not self.ends_with(stream, expected):
            return Elsewhere(stream.top)
        if self.full:
            return Refused("OOM")
        for entry in entries_of(page):
            entry_id, _ = entry
            self.on_add(name, stream, entry)
            if entry_id <= stream.top:  # what was added before it stays: a script is not rolled back
                self.put(name, stream)
                return Refused("ERR The ID specified in XADD is equal or smaller")
            stream = Stream(entry_id, (*stream.entries, entry), (*stream.log, entry))
        self.put(name, stream)
        return Appended(page.entries, page.top, len(stream.entries))

    def ends_with(self, stream: Stream, expected: StreamId) -> bool:
        return stream.top == expected

    def state(self, name: str) -> State:
        stream = self.get(name)
        if not stream.usable:
            return State(usable=False)
        first = stream.entries[0][0] if stream.entries else None
        return State(top=stream.top, length=len(stream.entries), first=first)

    def delete(self, name: str) -> None:
        self.put(name, None)

    # Consumers, and what may happen to a Redis

    def remove(self, name: str, *, first: int, count: int = 1) -> Log:
        """XDEL or XTRIM: the stream's end stays what it was. What is gone."""
        stream = self.get(name)
        gone = stream.entries[first : first + count]
        rest = stream.entries[:first] + stream.entries[first + count :]
        self.put(name, replace(stream, entries=rest))
        return gone

    def flush(self) -> None:
        self.past.append(self.streams)
        self.streams = {}

    def lose_tail(self, commands: int) -> None:
        """A crash or a failover: the last changes never happened."""
        self.streams = self.past[-commands]
        del self.past[-commands:]

    def add_from_outside(self, name: str) -> None:
        """Somebody's XADD, with a time of its own: later than any tick's."""
        stream = self.get(name)
        top = StreamId(max(stream.top.ms, 10**9) + 1, 0)
        added = (top, OUTSIDE)
        self.put(name, replace(stream, top=top, entries=(*stream.entries, added), log=(*stream.log, added)))

    def spoil(self, name: str) -> None:
        self.put(name, Stream(usable=False))


def entries_of(page: Page) -> Iterator[Entry]:
    """As the script reads a page's lines. An envelope is the outbox id, and nothing else."""
    for line in page.lines.decode().split("\n")[:-1]:
        entry_id, _, envelope = line.partition(" ")
        yield StreamId.parse(page.begin + entry_id), int(envelope)


def without(streams: dict[str, Stream], name: str) -> dict[str, Stream]:
    return {each: stream for each, stream in streams.items() if each != name}
