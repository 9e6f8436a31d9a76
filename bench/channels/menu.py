"""The faults of a run: every kind on the doubles' menu, each at its share, and how often each struck."""

from collections import Counter
from dataclasses import dataclass, field

from outbox.local.doubles.faults import AT_CONNECT, Fault, Kind, Menu

SLOW_SECONDS = 0.3
RETRY_AFTER_SECONDS = "1"
OF_REQUESTS: dict[str, Fault] = {
    "slow": Fault(Kind.SLOW, times=None, seconds=SLOW_SECONDS),
    "503": Fault(Kind.ANSWER, times=None, status=503),
    "429, Retry-After": Fault(
        Kind.ANSWER, times=None, status=429, headers={"Retry-After": RETRY_AFTER_SECONDS}
    ),
    "malformed answer": Fault(Kind.MALFORMED, times=None),
    "reset, not taken": Fault(Kind.RESET, times=None),
    "reset, taken": Fault(Kind.RESET, times=None, taken=True),
    "hang, not taken": Fault(Kind.HANG, times=None),
    "hang, taken": Fault(Kind.HANG, times=None, taken=True),
}
OF_CONNECTIONS: dict[str, Fault] = {
    "reset at connect": Fault(Kind.REFUSED, times=None),
    "silent at connect": Fault(Kind.SILENT, times=None),
    "garbage at connect": Fault(Kind.GARBAGE, times=None),
}


@dataclass(slots=True)
class Odds(Menu):
    """One throw for each request and each connection: with the probability `share` it meets a fault, each kind being
    as likely as any other. `struck` counts them by name."""

    share: float = 0.0
    struck: Counter[str] = field(default_factory=Counter)

    def take(self, *, connecting: bool, path: str = "") -> Fault | None:
        if ordered := Menu.take(self, connecting=connecting, path=path):
            return ordered
        throw = self.chance()
        if throw >= self.share:
            return None
        kinds = OF_CONNECTIONS if connecting else OF_REQUESTS
        name, fault = list(kinds.items())[int(throw / self.share * len(kinds))]
        assert (fault.kind in AT_CONNECT) is connecting
        self.struck[name] += 1
        return fault
