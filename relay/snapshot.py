"""Postgres snapshots as values: which transactions a tick holds. Pure."""

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
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.xip)))}"

    def sees(self, xid: Xid) -> bool:
        """As pg_visible_in_snapshot does."""
        return xid < self.xmax and xid not in self.xip

    @property
    def xmin(self) -> Xid:
        """Every transaction below has ended."""
        return min(self.xip, default=self.xmax)


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


def bound(
    previous: Snapshot, current: Snapshot, xids: list[Xid], *, all_read: bool
) -> tuple[Snapshot, Xid | None]:
    """Where a tick ends, given the transactions of the rows that were read, in order.

    Returns the tick's snapshot, and the one transaction it holds when that alone is more than one look
    reads (a transaction is never split between ticks).
    """
    if all_read:
        return current, None
    first, last = xids[0], xids[-1]
    if first == last:
        return cut(previous, current, Xid(last + 1)), last
    return cut(previous, current, last), None
