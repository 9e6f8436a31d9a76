"""What a stream has held, as the independent reader knows it. Pure.

An incarnation of a stream is what Redis has kept of it: a flush or a deletion begins a new one, a lost tail or
the promotion of a replica that lagged takes its end away. Within an incarnation nothing may come twice, nothing
out of order; and an entry that comes back must come back under the id it had.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self


class Id(NamedTuple):
    """A stream id: the tick's milliseconds, the outbox row."""

    ms: int
    row: int

    @classmethod
    def parse(cls, text: str) -> Self:
        ms, _, row = text.partition("-")
        return cls(int(ms), int(row))


ZERO = Id(0, 0)


class Entry(NamedTuple):
    """What matters of an entry. `writer` is one connection of one producer, `n` its own count."""

    id: Id
    notification: str
    attempt: int
    title: str
    writer: str
    n: int

    @classmethod
    def parse(cls, entry_id: str, envelope: str, attempt: str) -> Self:
        decoded = json.loads(envelope)
        payload = decoded["payload"]
        return cls(
            Id.parse(entry_id),
            decoded["notification_id"],
            int(attempt),
            payload.get("title", ""),
            payload.get("writer", ""),
            payload.get("n", 0),
        )

    @property
    def key(self) -> str:
        return f"{self.notification}:{self.attempt}"


@dataclass(slots=True)
class History:
    """One stream, through all its incarnations."""

    last: Id = ZERO
    held: dict[str, Entry] = field(default_factory=dict)  # of this incarnation, deleted entries included
    order: dict[str, tuple[int, Id]] = field(default_factory=dict)  # writer → its highest n
    ids: dict[str, Id] = field(default_factory=dict)  # of all incarnations: the id each came under last
    incarnations: int = 1
    twice: list[Entry] = field(default_factory=list)
    out_of_order: list[Entry] = field(default_factory=list)
    refused: list[Entry] = field(default_factory=list)  # tried with an id that Redis cannot have taken
    moved: list[tuple[Id, Entry]] = field(default_factory=list)  # came back under another id than before

    def add(self, entry: Entry) -> None:
        """MONITOR shows an XADD whether it succeeds or not, and of an id that does not rise none does."""
        if entry.id <= self.last:
            self.refused.append(entry)
            return
        if entry.key in self.held:
            self.twice.append(entry)
        if not entry.attempt and entry.n < self.order.get(entry.writer, (0, ZERO))[0]:
            self.out_of_order.append(entry)
        self.last = entry.id
        self.keep(entry)

    def keep(self, entry: Entry) -> None:
        self.held[entry.key] = entry
        if entry.writer and not entry.attempt and entry.n > self.order.get(entry.writer, (0, ZERO))[0]:
            self.order[entry.writer] = entry.n, entry.id
        if self.ids.setdefault(entry.key, entry.id) != entry.id:
            self.moved.append((self.ids[entry.key], entry))
            self.ids[entry.key] = entry.id

    def clear(self) -> None:
        """Flushed, or deleted."""
        self.resume(ZERO, ())

    def resume(self, last: Id, present: Iterable[Entry]) -> None:
        """What the server holds after a restart or a promotion: it ends at `last`, and these are in it.

        The ones among them that were not seen before came in the instant in which the old server died.
        """
        if last != self.last:
            self.incarnations += 1
        kept = [entry for entry in self.held.values() if entry.id <= last]
        known = {entry.key: entry.id for entry in kept}
        self.twice += [entry for entry in present if known.get(entry.key, entry.id) != entry.id]
        self.held, self.order, self.last = {}, {}, last
        for entry in sorted([*kept, *(entry for entry in present if entry.key not in known)]):
            self.keep(entry)
