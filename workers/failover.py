"""The decisions on the way down a channel's list of providers: may another be asked, and what is the end. Pure."""

from dataclasses import dataclass, field, replace
from math import inf

from db.delivery import Tried
from workers.circuit import Sign
from workers.outcome import (
    Deferred,
    Delivered,
    Failure,
    LeaseShort,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Unknown,
    error_class,
    requests,
)

# Permanent for one provider only: it does not serve that country, its number cannot reach that network.
ELSEWHERE = frozenset({"route"})
# The provider is well, and cannot take this one message now, or nothing for this one device.
ABOUT_THE_MESSAGE = frozenset({"smtp_4xx", "route", "throttled_device", "third_party_auth"})
# No other message will fare better until somebody has mended it.
BROKEN = frozenset({"auth", "config", "config_refused"})


def leads_on(outcome: Outcome) -> bool:
    """Whether another provider may be asked in the same attempt."""
    match outcome:
        case Transient() | Throttled():
            return True
        case Permanent(error_class=kind):
            return kind in ELSEWHERE
    return False  # taken, or the recipient is gone for all of them; what may have arrived is never sent twice


def sign(outcome: Outcome) -> Sign:
    """What an outcome says about its provider's health: an answer is a good sign, whatever it is."""
    match outcome:
        case Transient(told=True) | Unknown(told=True):
            return Sign.NONE  # one connection that breaks is one sign, however many requests were on it
        case Transient(error_class=kind) if kind in ABOUT_THE_MESSAGE:
            return Sign.NONE
        case Transient(error_class=kind):
            return Sign.BROKEN if kind in BROKEN else Sign.ILL
        case Unknown():
            return Sign.ILL
        case LeaseShort() | Deferred():
            return Sign.NONE
    return Sign.WELL


def result(outcome: Outcome) -> str:
    """As the metrics count it."""
    match outcome:
        case Delivered():
            return "delivered"
        case LeaseShort():
            return "lease_short"
    return error_class(outcome)


@dataclass(frozen=True, slots=True)
class Step:
    """One provider on the way down. `vain`: it was not asked, or only to find out that it is still ill. `wait`:
    seconds until it may be asked about this message again."""

    tried: Tried
    wait: float
    vain: bool


@dataclass(slots=True)
class Descent:
    """One attempt's way down the list."""

    steps: list[Step] = field(default_factory=list)

    def skip(self, provider: str, kind: str, why: str, wait: float) -> None:
        reason = f"not asked for another {wait:.1f} s: {why}"
        self.steps.append(Step(Tried(provider, kind, reason, sends=0), wait, vain=True))

    def failed(self, provider: str, failure: Failure, wait: float, *, probe: bool) -> None:
        """`wait` as the provider's circuit has it; a provider that never takes this message is not waited for."""
        kind = error_class(failure)
        asked = failure.retry_after if isinstance(failure, Transient | Throttled) else None
        wait = inf if isinstance(failure, Permanent) else max(wait, asked or 0.0)
        vain = probe and isinstance(failure, Transient)
        self.steps.append(Step(Tried(provider, kind, failure.reason, requests(failure)), wait, vain))

    def pause(self) -> float | None:
        """Seconds until there is room for it, where only rates were in the way."""
        kinds = {step.tried.error_class for step in self.steps}
        return min(step.wait for step in self.steps) if kinds == {"rate_limited"} else None

    def ended(self, outcome: Outcome) -> Outcome:
        """Somebody took it, or nobody else may be asked."""
        if isinstance(outcome, LeaseShort):
            return outcome
        return replace(outcome, tried=tuple(step.tried for step in self.steps))

    def fallen(self) -> Outcome:
        """Nobody took it: the outcome is that of the last one asked, and the next attempt is made as soon as the
        first of them may be asked."""
        asked = [step for step in self.steps if not step.vain]
        if not asked:
            return self._in_vain()
        last = asked[-1]
        tried = tuple(step.tried for step in self.steps if step is not last)
        return replace(self._of(last.tried), tried=tried, sends=last.tried.sends)

    def _of(self, last: Tried) -> Permanent | Throttled | Transient:
        soonest = min(step.wait for step in self.steps)
        if soonest == inf:
            return Permanent(last.error_class, last.reason, last.provider)
        if all(step.tried.error_class == "throttled" for step in self.steps):
            return Throttled(last.reason, soonest or None, last.provider)
        return Transient(last.error_class, last.reason, soonest or None, last.provider)

    def _in_vain(self) -> Deferred:
        """An outage costs a notification no attempts, not even the one whose lot it was to be the probe."""
        kinds = {step.tried.error_class for step in self.steps}
        reason = "; ".join(f"{step.tried.provider}: {step.tried.reason}" for step in self.steps)
        soonest = min(step.wait for step in self.steps)
        tried = tuple(step.tried for step in self.steps)
        return Deferred(
            kinds.pop() if len(kinds) == 1 else "circuit_open", reason, soonest, lane=True, tried=tried
        )
