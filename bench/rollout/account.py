"""What clients and producers were told, and what came of it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

CHANNELS = ("inapp", "email", "sms", "push", "webhook")
Key = tuple[str, str]  # channel, notification


class Sent(NamedTuple):
    """Committed: the producer knew it at this moment (monotonic seconds)."""

    notification: str
    channels: Sequence[str]
    at: float


class Request(NamedTuple):
    """One call of the client, its repeats included."""

    what: str
    began: float
    seconds: float
    failure: str | None = None


class Step(NamedTuple):
    """A part of the deploy."""

    name: str
    began: float
    ended: float

    def holds(self, moment: float) -> bool:
        return self.began <= moment < self.ended


@dataclass(slots=True)
class Account:
    sent: list[Sent] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    inserts: list[Request] = field(default_factory=list)
    repeats: list[float] = field(default_factory=list)  # when the client sent a request again by itself
    reconnects: list[float] = field(default_factory=list)  # when a socket was there again
    oddities: list[str] = field(default_factory=list)  # what a socket should never say
    heard: dict[Key, list[float]] = field(default_factory=dict)

    def hear(self, channel: str, notification: str, at: float) -> None:
        self.heard.setdefault((channel, notification), []).append(at)

    def expected(self) -> dict[Key, float]:
        return {(channel, each.notification): each.at for each in self.sent for channel in each.channels}

    def missing(self) -> list[Key]:
        return list(self.expected().keys() - self.heard.keys())

    def twice(self) -> list[Key]:
        return [key for key, times in self.heard.items() if len(times) > 1]

    def uninvited(self) -> list[Key]:
        """Heard, and committed by nobody."""
        return list(self.heard.keys() - self.expected().keys())

    def failed(self) -> list[Request]:
        return [each for each in (*self.requests, *self.inserts) if each.failure]

    def waits(self, step: Step) -> dict[str, float]:
        """By channel: the longest time from commit to arrival, of what was committed during the step."""
        longest: dict[str, float] = {}
        for (channel, notification), at in self.expected().items():
            if step.holds(at) and (times := self.heard.get((channel, notification))):
                longest[channel] = max(longest.get(channel, 0.0), times[0] - at)
        return longest


@dataclass(frozen=True, slots=True)
class Line:
    """A step as the table shows it; seconds."""

    step: str
    seconds: float
    requests: int
    repeated: int
    reconnected: int
    slowest_request: float
    slowest_insert: float
    waits: Mapping[str, float]


def lines(account: Account, steps: Iterable[Step]) -> list[Line]:
    return [line(account, step) for step in steps]


def line(account: Account, step: Step) -> Line:
    requests = [each.seconds for each in account.requests if step.holds(each.began)]
    inserts = [each.seconds for each in account.inserts if step.holds(each.began)]
    return Line(
        step.name,
        round(step.ended - step.began, 2),
        len(requests),
        sum(map(step.holds, account.repeats)),
        sum(map(step.holds, account.reconnects)),
        round(max(requests, default=0.0), 3),
        round(max(inserts, default=0.0), 3),
        {channel: round(seconds, 3) for channel, seconds in account.waits(step).items()},
    )


def appended_twice(logged: Mapping[str, int], appended: Mapping[str, int]) -> dict[str, int]:
    """By channel: entries that Redis took beyond the rows of the log, or lacks (then below 0)."""
    found = Counter(appended)
    found.subtract(logged)
    return {channel: number for channel, number in found.items() if number}
