"""How many messages a provider is given at once: as many as it serves without making them wait.

TCP Vegas, as Netflix' concurrency-limits has it (VegasLimit): longer answers than usual say how many of the messages
under way are queueing on the far side. Few, and one more is tried; many, and there is one less. What is usual is
measured anew now and then with a quarter of them under way, as Envoy's adaptive concurrency does with fewer still:
who only ever measures with a queue takes that for usual.
"""

import math
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from statistics import median

from workers.outcome import Delivered, Outcome, Permanent, RecipientGone, Unknown

LEAST, FIRST = 2, 8
SAMPLES = 16  # of one measurement, at least; else as many as may be under way
PROBE_EVERY = 40  # measurements
PROBE_PART = 4
NOISE = 1.2  # answers take a little longer or less long whatever we do


def few(limit: int) -> float:
    """So many may queue."""
    return max(1.0, 2 * math.log10(limit))


@dataclass(slots=True)
class Concurrency:
    """Of one provider in one lane. `ceiling` is the most there may be. Whoever asks the provider says so by `began`,
    and by `ended` how long it took."""

    ceiling: int
    limit: int = 0
    under_way: int = 0
    wanted: bool = False  # since the last measurement more could have been sent, had there been room
    usual: float | None = None  # seconds of an answer that queued behind nobody
    _phase: int = 0  # answers to what began in an earlier one tell nothing
    _seconds: list[float] = field(default_factory=list)
    _measured: int = 0
    _settled: bool = False  # the first queue was seen: from now on in small steps
    _at_probe: int = 0  # the limit at the last one
    _full: int = 0  # during a probe, the limit to come back to

    def __post_init__(self) -> None:
        self.limit = self.limit or min(FIRST, self.ceiling)

    def began(self) -> int:
        """What `ended` is to be told."""
        self.under_way += 1
        return self._phase

    def ended(self, phase: int, seconds: float | None) -> None:
        """None: what came back tells nothing of how busy the far side is."""
        self.under_way -= 1
        if seconds is None or phase != self._phase:
            return
        self._seconds.append(seconds)
        if len(self._seconds) >= max(SAMPLES, 0 if self._full else self.limit):
            self._measure(median(self._seconds))
            self._seconds.clear()
            self.wanted = False

    def _measure(self, seconds: float) -> None:
        if self._full:
            self._settled = seconds < 1.5 * (self.usual or seconds)  # else all is different
            self.usual = seconds
            self._enter(self._full)
            self._full = 0
            return
        usual = self.usual = min((self.usual or seconds), ((self.usual or seconds) + seconds) / 2)
        if not self.wanted:
            return  # there was less to do: nothing is learned from that
        self._move(self.limit * (1 - NOISE * usual / seconds) if seconds else 0.0)
        self._measured += 1
        if self._measured >= PROBE_EVERY or 2 * self.limit < self._at_probe:  # or what is usual has changed
            self._measured, self._at_probe, self._full = 0, self.limit, self.limit
            self._enter(max(min(LEAST, self.ceiling), self.limit // PROBE_PART))

    def _enter(self, limit: int) -> None:
        self.limit, self._phase = limit, self._phase + 1

    def _move(self, queue: float) -> None:
        step = max(1, round(math.log10(self.limit)))
        if queue > 2 * few(self.limit):
            least = min(LEAST, self.ceiling)
            self.limit, self._settled = max(least, self.limit - max(step, int(queue / 4))), True
        elif queue < few(self.limit):
            self.limit = min(self.ceiling, self.limit + step if self._settled else 2 * self.limit)


def tells(outcome: Outcome | None) -> bool:
    """Whether its time says how busy the far side is: a refusal to listen, or to be connected to, is quick."""
    return isinstance(outcome, Delivered | Permanent | RecipientGone | Unknown)


async def paced(pace: Concurrency | None, sending: Awaitable[Outcome]) -> Outcome:
    """The same, noted."""
    if pace is None:
        return await sending
    began_at, phase, outcome = time.monotonic(), pace.began(), None
    try:
        outcome = await sending
        return outcome
    finally:
        pace.ended(phase, time.monotonic() - began_at if tells(outcome) else None)
