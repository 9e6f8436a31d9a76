"""How an attempt ended, classed by what is to be done about it. Every channel speaks in these."""

import re
from dataclasses import dataclass, field, replace

from db.delivery import Tried

# A match begins only where a word does, so that the cost of a long word is not its length squared.
ADDRESS = re.compile(r"(?<![^\s<>@\"'])[^\s<>@\"']+@[^\s<>@\"']+")
UNSTORABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
REASON_CHARACTERS = 300
READ_CHARACTERS = 2_000


def clean(reason: str) -> str:
    """A reason fit for the timeline: no addresses, nothing Postgres cannot hold, not long."""
    return ADDRESS.sub("***@***", UNSTORABLE.sub(" ", reason[:READ_CHARACTERS])).strip()[:REASON_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The far side took it. `provider`, here and below: which of the channel's it was; `tried`: those before it.
    `found`: an earlier attempt had reached it, and nothing was sent now. `segments`: of a text message. `sends`, here
    and below: how many requests it took, where that does not follow from the kind of outcome."""

    message_id: str | None = None
    provider: str | None = None
    tried: tuple[Tried, ...] = ()
    segments: int | None = None
    found: bool = False
    sends: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Transient:
    """Not now: try again later, not before `retry_after` seconds where the far side named a time. `reached`, here and
    below: it is on one of the recipient's devices already, so without another attempt it counts as delivered. `told`,
    here and below: another request, whose connection it shared, has told of the same trouble."""

    error_class: str
    reason: str
    retry_after: float | None = None
    provider: str | None = None
    tried: tuple[Tried, ...] = ()
    reached: bool = False
    sends: int | None = field(default=None, compare=False)
    told: bool = False


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too much: try again later, and slow the whole channel down meanwhile."""

    reason: str
    retry_after: float | None = None
    provider: str | None = None
    tried: tuple[Tried, ...] = ()
    reached: bool = False
    sends: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Permanent:
    """Never, whatever the number of attempts."""

    error_class: str
    reason: str
    provider: str | None = None
    tried: tuple[Tried, ...] = ()
    sends: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class RecipientGone:
    """Permanent, and no other message will ever reach this address."""

    reason: str
    provider: str | None = None
    tried: tuple[Tried, ...] = ()
    sends: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request left, no answer came: it may have arrived. The channel's policy decides."""

    reason: str
    provider: str | None = None
    tried: tuple[Tried, ...] = ()
    reached: bool = False
    sends: int | None = field(default=None, compare=False)
    told: bool = False


@dataclass(frozen=True, slots=True)
class Deferred:
    """Nobody was asked, because it would have been in vain or too much: later, and it counts as no attempt.
    `lane`: it would be the same with every other delivery of this lane. `exact`: it is known when the
    time has come, and whoever defers decides when to give up; otherwise the waits grow with its age, and end in the
    dead letters."""

    error_class: str
    reason: str
    retry_after: float | None = None
    lane: bool = False
    exact: bool = False
    provider: str | None = None
    tried: tuple[Tried, ...] = ()
    reached: bool = False


@dataclass(frozen=True, slots=True)
class LeaseShort:
    """Nothing was sent, because the lease would not have lasted: the claim is given back."""


Outcome = Delivered | Transient | Throttled | Permanent | RecipientGone | Unknown | Deferred | LeaseShort
Failure = Transient | Throttled | Permanent | RecipientGone | Unknown | Deferred

# Classes of errors that come before a request has reached anybody.
NOT_SENT = frozenset(
    {"connection", "tls", "timeout", "config", "circuit_open", "rate_limited", "ask", "egress"}
)


def error_class(failure: Failure) -> str:
    """As the timeline and the metrics have it."""
    match failure:
        case Transient() | Permanent() | Deferred():
            return failure.error_class
        case Throttled():
            return "throttled"
        case RecipientGone():
            return "recipient_gone"
        case Unknown():
            return "unknown"


def requests(outcome: Outcome) -> int:
    """How many requests reached the provider that it is from, had it one."""
    match outcome:
        case Deferred() | LeaseShort():
            return 0
        case _ if outcome.sends is not None:
            return outcome.sends
        case Delivered():
            return int(not outcome.found)
    return int(error_class(outcome) not in NOT_SENT)


def counted(outcome: Outcome, number: int) -> Outcome:
    """The same, with that many requests."""
    return outcome if isinstance(outcome, Deferred | LeaseShort) else replace(outcome, sends=number)


def sends(outcome: Outcome) -> int:
    """How many requests reached providers. An outcome without a provider came about without one, unless it says."""
    if isinstance(outcome, LeaseShort):
        return 0
    said = not isinstance(outcome, Deferred) and outcome.sends is not None
    own = requests(outcome) if said or outcome.provider is not None else 0
    return own + sum(tried.sends for tried in outcome.tried)
