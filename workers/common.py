"""What the lanes of one channel have in common within a process: a brake, its providers' health, their rates."""

import time
from dataclasses import dataclass, field

from db.pool import Pool
from workers import metrics
from workers.circuit import Circuit
from workers.rates import Rates

BRAKE_CAP_SECONDS = 60.0


@dataclass(slots=True)
class Brake:
    """A far side that is throttling gets no new attempts for a while."""

    until: float = 0.0

    def pull(self, seconds: float) -> None:
        self.until = max(self.until, time.monotonic() + min(seconds, BRAKE_CAP_SECONDS))

    def left(self) -> float:
        return self.until - time.monotonic()


@dataclass(frozen=True, slots=True)
class Common:
    """`pool`: the worker's, for a channel that has something to look up or to note outside a claim and a settle.
    `rates`: None where nothing is limited."""

    channel: str
    brake: Brake = field(default_factory=Brake)
    circuits: dict[str, Circuit] = field(default_factory=dict)
    database: Pool | None = None
    rates: Rates | None = None

    @property
    def pool(self) -> Pool:
        assert self.database, "made without a pool"
        return self.database

    def circuit(self, provider: str) -> Circuit:
        return self.circuits.setdefault(provider, Circuit())

    def forget(self) -> None:
        """Another config may have mended what was wrong: it is found out anew, of those who are asked again."""
        for provider in self.circuits:
            metrics.forget_circuit(self.channel, provider)
        self.circuits.clear()
