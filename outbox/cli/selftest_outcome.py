"""What a self-test is, and what came of it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from db.selftest import Way

SETTLED = frozenset({"delivered", "failed", "suppressed", "canceled", "expired", "unknown", "digested"})


@dataclass(frozen=True, slots=True)
class Trial:
    """`rate` a second; `budget` and `timeout` in seconds; `address`: e-mail there rather than in-app."""

    count: int
    rate: float
    budget: float
    timeout: float
    address: str | None = None

    @property
    def channel(self) -> str:
        return "email" if self.address else "inapp"


@dataclass(frozen=True, slots=True)
class Hop:
    """How long that part of the road took, in seconds: of each, in order."""

    name: str
    seconds: Sequence[float]

    def at(self, share: float) -> float:
        """The nearest-rank percentile."""
        ordered = sorted(self.seconds)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Outcome:
    sent: int
    delivered: int
    hops: Sequence[Hop]
    troubles: Sequence[str]


def judged(test: Trial, ways: Sequence[Way]) -> Outcome:
    arrived = [way for way in ways if way.status == "delivered"]
    hops = [
        Hop("written → in a tick", [way.ticked - way.created for way in arrived if way.ticked]),
        Hop("tick → claimed", [way.claimed - way.ticked for way in arrived if way.claimed and way.ticked]),
        Hop(
            "claimed → delivered",
            [way.settled - way.claimed for way in arrived if way.settled and way.claimed],
        ),
        Hop("the whole road", [way.settled - way.created for way in arrived if way.settled]),
    ]
    hops = [hop for hop in hops if hop.seconds]
    troubles = []
    if missing := test.count - len(arrived):
        states = sorted({f"{where(way)}" for way in ways if way.status != "delivered"})
        troubles.append(f"{missing} of {test.count} were not delivered: {', '.join(states) or 'gone'}")
    if hops and (slowest := hops[-1].at(0.99)) > test.budget:
        troubles.append(f"p99 is {slowest:.3f} s, over the budget of {test.budget:g} s")
    return Outcome(test.count, len(arrived), hops, troubles)


def where(way: Way) -> str:
    """How far it has come."""
    if way.status:
        return way.status
    return "in no tick (no relay leads?)" if way.ticked is None else "in its stream, unclaimed (no worker?)"
