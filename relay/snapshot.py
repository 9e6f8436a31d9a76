"""Postgres snapshots as values: which transactions a tick holds. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NewType, Self

Xid = NewType("Xid", int)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every transaction below `xmax` is in it, but for those in `xip` (pg_snapshot, PostgreSQL docs §9.28).

    A snapshot need not have been taken: the relay makes some, to cut a backlog into ticks.
    """

    xmax: Xid
    xip: frozenset[Xid]

    @classmethod
    def parse(cls, text: str) -> Self:
        """From pg_snapshot's text, `xmin:xmax:xip,xip,…`."""
        _, xmax, xip = text.split(":")
        return cls(Xid(int(xmax)), frozenset(Xid(int(x)) for x in xip.split(",") if x))

    def __str__(self) -> str:
        xip = sorted(self.xip)
        return f"{xip[0] if xip else self.xmax}:{self.xmax}:{','.join(map(str, xip))}"

    def sees(self, xid: Xid) -> bool:
        """As pg_visible_in_snapshot does."""
        return xid < self.xmax and xid not in self.xip

    def in_progress(self, xids: Iterable[Xid]) -> bool:
        """Whether one of these transactions had not ended yet."""
        return not self.xip.isdisjoint(xids)


# Before everything: transaction ids begin at 3.
GENESIS = Snapshot(Xid(1), frozenset())


def cut(previous: Snapshot, current: Snapshot, limit: Xid) -> Snapshot:
    """The part of `current` that holds, besides `previous`, only transactions below `limit`.

    Ended transactions from `limit` on count as in progress: a later tick takes them. Nothing that
    `previous` sees is lost, so ticks only ever grow.
    """
    xmax = max(previous.xmax, min(limit, current.xmax))
    running = {x for x in current.xip if x < xmax}
    left_out = {x for x in previous.xip if x >= limit}
    return Snapshot(Xid(xmax), frozenset(running | left_out))


def bound(previous: Snapshot, current: Snapshot, xids: list[Xid], limit: int) -> tuple[Snapshot, Xid | None]:
    """Where a tick ends, given the rows' transactions in order, of which up to `limit` + 1 were read.

    Returns the tick's snapshot, and the one transaction it holds when that alone is over the limit
    (a transaction is never split between ticks).
    """
    if len(xids) <= limit:
        return current, None
    first, last = xids[0], xids[-1]
    if first == last:
        return cut(previous, current, Xid(last + 1)), last
    return cut(previous, current, last), None
