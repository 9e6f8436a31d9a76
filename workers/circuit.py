"""The health of one provider as this process sees it: a circuit, open while asking is in vain. Pure."""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto


class State(IntEnum):
    """The numbers are those of the gauge."""

    CLOSED = 0
    HALF_OPEN = 1  # one probe is on its way, or may be
    OPEN = 2


class Sign(Enum):
    """What an attempt says about the provider."""

    WELL = auto()
    ILL = auto()
    BROKEN = auto()  # no other attempt will fare better: login, config
    NONE = auto()


class Admission(Enum):
    REFUSED = auto()
    ADMITTED = auto()
    PROBE = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """When it opens, and for how many seconds."""

    in_a_row: int = 5
    # Of the last results of so many seconds, where there are enough of them, this share of failures is too much.
    window_seconds: float = 30.0
    enough: int = 20
    share: float = 0.5
    cool_down: float = 5.0
    cool_down_cap: float = 60.0
    jitter: float = 0.25
    probe_seconds: float = 1.0  # the next look, while somebody else's probe is on its way
    rest_cap: float = 3600.0


REMEMBERED = 200
SHOWN_SECONDS = 1800.0  # longer than OutboxCircuitOpen waits, and than whoever is put off does for a while


@dataclass(slots=True)
class Circuit:
    """`now` is seconds on one clock, `chance` lies in [0, 1). Who was admitted says what became of it: by `record`,
    or by `release` where nothing did."""

    limits: Limits = field(default_factory=Limits)
    state: State = State.CLOSED
    _opens_until: float = 0.0
    _rests_until: float = 0.0
    _in_a_row: int = 0
    _openings: int = 0
    _probing: bool = False
    _failed: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def wait(self, now: float) -> float:
        """Seconds until it may be asked again; 0: at once."""
        left = max(0.0, self._rests_until - now)
        match self.state:
            case State.OPEN:
                return max(left, self._opens_until - now)
            case State.HALF_OPEN if self._probing:
                return max(left, self.limits.probe_seconds)
        return left

    def resting(self, now: float) -> bool:
        """Whether it asked for a pause itself."""
        return self._rests_until > now

    def shown(self, now: float) -> State:
        """For the gauge: open until a probe gets through. One that could have been probed long ago, and was not because
        nobody needed it, is no longer known to be: the next one in a chain, when the first is well again."""
        if self.state is State.CLOSED:
            return State.CLOSED
        asked = self._probing or now - self._opens_until <= SHOWN_SECONDS
        return State.OPEN if asked else State.HALF_OPEN

    def admit(self, now: float) -> Admission:
        if self.wait(now) > 0:
            return Admission.REFUSED
        if self.state is State.CLOSED:
            return Admission.ADMITTED
        self.state, self._probing = State.HALF_OPEN, True
        return Admission.PROBE

    def release(self, admission: Admission) -> None:
        """An attempt came to nothing: it was cancelled, or not made. Another may probe."""
        if admission is Admission.PROBE:
            self._probing = False

    def record(self, admission: Admission, sign: Sign, now: float, chance: float) -> None:
        self.release(admission)
        match sign:
            case Sign.WELL:
                self._well(now)
            case Sign.ILL if self.state is State.CLOSED:
                self._ill(now, chance)
            case Sign.BROKEN if self.state is State.CLOSED:
                self._open(now, chance)
            # What began before the circuit opened, and fails only now, tells nothing new.
            case Sign.ILL | Sign.BROKEN if admission is Admission.PROBE:
                self._open(now, chance)

    def rest(self, now: float, seconds: float) -> None:
        """It asked to be left alone for so long."""
        self._rests_until = max(self._rests_until, now + min(seconds, self.limits.rest_cap))

    def _well(self, now: float) -> None:
        if self.state is not State.CLOSED:
            self._failed.clear()
        self.state, self._in_a_row, self._openings = State.CLOSED, 0, 0
        self._failed.append((now, False))

    def _ill(self, now: float, chance: float) -> None:
        self._in_a_row += 1
        self._failed.append((now, True))
        if self._in_a_row >= self.limits.in_a_row or self._mostly_failed(now):
            self._open(now, chance)

    def _mostly_failed(self, now: float) -> bool:
        recent = [failed for at, failed in self._failed if now - at <= self.limits.window_seconds]
        return len(recent) >= self.limits.enough and sum(recent) >= self.limits.share * len(recent)

    def _open(self, now: float, chance: float) -> None:
        """For longer each time, and never for the same time in every process."""
        cool_down = min(self.limits.cool_down * 2.0 ** min(self._openings, 20), self.limits.cool_down_cap)
        spread = 1 - self.limits.jitter + 2 * self.limits.jitter * chance
        self.state, self._opens_until = State.OPEN, now + cool_down * spread
        self._openings += 1
        self._in_a_row = 0
