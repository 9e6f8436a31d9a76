"""What a run is judged by, and how long deliveries stood still. Pure."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from bench.channels.audit import Delivery

USUAL_SECONDS = 2  # between two deliveries of a channel while nothing happens, at most


class Arrived(NamedTuple):
    """A delivery. Unix seconds."""

    channel: str
    created: float
    settled: float


class Struck(NamedTuple):
    """What was done to a container. Unix seconds; `until`: healthy again."""

    service: str
    at: float
    until: float


class Gap(NamedTuple):
    """The longest time without any delivery on the channel where it was longest, and the slowest delivery of all."""

    seconds: float = 0.0
    channel: str = ""
    slowest: float = 0.0
    slowest_channel: str = ""


@dataclass(slots=True)
class Arrivals:
    """Those of one channel, in order."""

    settled: list[float] = field(default_factory=list)
    created: list[tuple[float, float]] = field(default_factory=list)  # and how long it took

    def longest(self, since: float, until: float) -> float:
        """Between two deliveries, the earlier of them the last before `since` or one until `until`. What began
        well before is somebody else's doing."""
        first = bisect_left(self.settled, since - USUAL_SECONDS)
        last = bisect_right(self.settled, until) + 1
        return max((b - a for a, b in pairwise(self.settled[first:last])), default=0.0)

    def slowest(self, since: float, until: float) -> float:
        """Of those created in that time."""
        first, last = bisect_left(self.created, (since, 0.0)), bisect_right(self.created, (until, 0.0))
        return max((took for _, took in self.created[first:last]), default=0.0)


def by_channel(arrived: Iterable[Arrived]) -> dict[str, Arrivals]:
    found: defaultdict[str, Arrivals] = defaultdict(Arrivals)
    for each in arrived:
        found[each.channel].settled.append(each.settled)
        found[each.channel].created.append((each.created, each.settled - each.created))
    for arrivals in found.values():
        arrivals.settled.sort()
        arrivals.created.sort()
    return dict(found)


def gap(arrivals: Mapping[str, Arrivals], since: float, until: float) -> Gap:
    if not arrivals:
        return Gap()
    still = {channel: each.longest(since, until) for channel, each in arrivals.items()}
    slow = {channel: each.slowest(since, until) for channel, each in arrivals.items()}
    longest, slowest = max(still, key=still.__getitem__), max(slow, key=slow.__getitem__)
    return Gap(still[longest], longest, slow[slowest], slowest)


@dataclass(slots=True)
class Unsettled:
    """Deliveries that have not ended as they should. `held`: the request had left when its worker or the provider was
    killed; the channel holds those for a person, and the timeline says so."""

    open: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


def unsettled(deliveries: Iterable[Delivery]) -> Unsettled:
    found = Unsettled()
    for each in deliveries:
        if each.status == "unknown":
            found.held.append(str(each))
        elif each.status != "delivered":
            found.open.append(str(each))
    return found


@dataclass(slots=True)
class Live:
    """What live inboxes were told, against the inboxes: all of it once."""

    missing: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)


def live(told: Mapping[str, Mapping[str, int]], inboxes: Mapping[str, Sequence[str]]) -> Live:
    found = Live()
    for user, counted in told.items():
        found.missing += [f"{user} {each}" for each in inboxes.get(user, ()) if each not in counted]
        found.twice += [f"{user} {each}" for each, times in counted.items() if times > 1]
    return found
